"""MONAI Deploy application for hospitals: a folder of DICOM and a text in; DICOM SEG, overlay pictures and reports out.

    study.py              the series of a folder          series_selection.py   which of them, by rules, and the text
    engines.py            the networks: a preset or a bundle's folder
    steps.py              what is done to one series      operators.py, app.py  the same as an App SDK application
    seg_writer.py, segment_codes.py, secondary_capture.py, stored_frames.py     DICOM out
    report.py             what is written about it        __main__.py           the command

The extra `deploy` has an environment of its own (requirements/deploy.txt); only app.py and operators.py need the SDK.
"""
