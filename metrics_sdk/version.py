"""The version of the package: here alone, also for the build."""

__version__ = "0.1.0"
