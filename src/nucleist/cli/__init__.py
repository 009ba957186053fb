"""The command line: it reads words, calls a function of the library and prints the result."""
