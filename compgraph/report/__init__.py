"""The report: one self-contained page of what a study found and how it was made.

`compgraph.report.collect` reads results, `compgraph.report.build` writes the page; the items in between
(`compgraph.report.items`) are plain data, so that a page can also be built from anything else.
"""
