"""`python -m fusecache` is the command `fusecache`."""

from fusecache.cli import main

if __name__ == "__main__":
    main()
