"""coco_rain."""
