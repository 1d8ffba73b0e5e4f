"""camvid."""
