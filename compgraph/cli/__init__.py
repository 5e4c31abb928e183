"""The command line: one verb a file, each loads, calls the library and saves."""
