#!/usr/bin/env python3
"""Prints printable_table.inc from Python's copy of the Unicode database.

    pprof/encode/make_printable_table.py > pprof/encode/printable_table.inc
"""

import unicodedata


def is_printable(code_point):
    return code_point == 0x20 or unicodedata.category(chr(code_point))[0] in "LMNPS"


def ranges():
    first = None
    for code_point in range(0x110000):
        if is_printable(code_point):
            if first is None:
                first = code_point
        elif first is not None:
            yield first, code_point - 1
            first = None


print(f"// Unicode {unicodedata.unidata_version}.")
line = ""
for first, last in ranges():
    item = "{0x%x, 0x%x}, " % (first, last)
    if len(line) + len(item) > 120:
        print(line.rstrip())
        line = ""
    line += item
print(line.rstrip())
