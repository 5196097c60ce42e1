"""The MONAI Label app: annotate by text in 3D Slicer, OHIF or a script. Install it with ``pip install '.[label]'``."""
