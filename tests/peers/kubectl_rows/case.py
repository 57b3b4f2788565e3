"""What a row is, and how it says that something is not as it should be.

A row is a function of a Kubectl (kubectl_table.py). Returning is "works", returning a text is "refused" with that
message, raising Absent says that this version of kubectl does not have the command, any assertion is "no".
"""


class Absent(Exception):
    """This version of kubectl has no such command or flag."""


def collector():
    """The rows of one file, and the decorator that adds to them.

    `since`: the first minor version of kubectl that has the command.
    """
    rows = []

    def row(group, title, since=None):
        def keep(function):
            rows.append((group, title, since, function))
            return function

        return keep

    return rows, row


def check(holds, *said):
    if not holds:
        raise AssertionError(" ".join(str(word) for word in said) or "not as expected")


def equal(found, wanted):
    check(found == wanted, "found %r, wanted %r" % (found, wanted))


def contains(text, *words):
    for word in words:
        check(word in text, "missing %r in:\n%s" % (word, text))
