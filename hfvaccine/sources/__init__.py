"""Other people's files and places: rows of any common format, fact-checks as they are published, Hub ids. Pure."""
