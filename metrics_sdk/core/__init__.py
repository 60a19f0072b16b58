"""The recording core: compiled by mypyc where that can be had, interpreted elsewhere, with the same results."""
