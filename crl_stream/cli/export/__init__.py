"""``crl export``: what is on the topics, as files for spreadsheets and programs; an interrupted export goes on.

command   the command
span      the range of times, and the offsets that it means in each partition
lines     one record as a line of csv or jsonl; pure
exporting reads the records and writes the file
unfinished  the part that is written so far, and the note beside it
"""
