"""What is written back into a DICOM archive: segmentations of its images, and pictures of them.

    segmentation.py        `write_segmentation`: a label map as DICOM SEG on the frames of the files it was made from
    secondary_capture.py   pictures as Secondary Captures             overlay_pictures.py   what they show
    source_frames.py       which frame shows which slice              source_headers.py     what is taken of a header
    source_places.py       where the frames lie                       identifiers.py        which UIDs are valid
    segment_codes.py       a class's name as DICOM codes              algorithm.py          what made it

They need highdicom (the extra `seg`), which is imported when an object is made.
"""
