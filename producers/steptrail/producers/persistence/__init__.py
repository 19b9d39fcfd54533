"""Files that keep events until they are sent: the spool, the journal, and files that other processes left."""
