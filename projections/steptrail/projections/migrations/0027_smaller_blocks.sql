-- A list of all pipelines reads a granule or two of each pipeline and status, and of every column decompresses the whole block
-- that such a granule is in: 64 KiB at least, which are eight granules of a narrow column. With smaller blocks it takes two
-- thirds of the time, for 1.4 bytes an event more.
--
-- Parts that are written from now on have them, by inserts and by merges; older parts are read as before.

ALTER TABLE steps MODIFY SETTING min_compress_block_size = 16384;
