"""From a data set as it is downloaded to the COCO-video JSON; one file per data set."""
