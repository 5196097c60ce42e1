"""MONAI Deploy application for hospitals: a folder of DICOM and a text in; DICOM SEG, overlay pictures and reports out.

    command.py        `medclipsam deploy`             series_selection.py   which series, by rules, and the text
    study.py          the series of a folder          app.py                the same as an App SDK application
    engines.py        the networks                    load_engine.py        of a preset or of a bundle's folder
    steps.py          what is done to one series      report.py             what is written about it
    run.py            one run over all of them        bundle_folder.py      whether a folder is a bundle
    sdk_options.py    -m, -w and -l of the SDK

DICOM is written by `medclipsam_monai.io.dicom_seg`. The extra `deploy` has an environment of its own
(requirements/deploy.txt); only app.py and run.py need the SDK.
"""
