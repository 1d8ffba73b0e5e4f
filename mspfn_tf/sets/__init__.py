"""Sets of pictures: which belong together, what is prepared, what is labelled."""
