"""The split `reports`: public reports of training that was stuck, or was thought to be, rebuilt small.

The cause and the fix of a program are those that the maintainer or the accepted answer gave.
"""
