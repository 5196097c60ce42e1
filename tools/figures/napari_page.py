"""The picture of docs/how-to/napari.md: the plugin in napari on its own phantom CT.

    python -m tools.figures.napari_page docs/pictures/napari.png

Needs the extra napari, a Qt, and a screen with OpenGL, of which Xvfb is one.
"""

from __future__ import annotations

from pathlib import Path

from tools.figures.one_picture import run

TEXT = "liver"
SLICE = 24
SIZE = (1280, 860)


def draw(picture: Path) -> None:
    """Segment the sample volume in a window and save what the window shows."""
    import napari
    from qtpy.QtCore import QEventLoop, QTimer

    from medclipsam_monai.napari.dock import SegmentByText
    from medclipsam_monai.napari.samples import phantom_volume

    viewer = napari.Viewer(title="napari", show=True)
    viewer.window.resize(*SIZE)
    ((array, arguments, _),) = phantom_volume()
    viewer.add_image(array, **arguments)
    dock = SegmentByText(viewer)
    viewer.window.add_dock_widget(dock, name="Segment by text")
    dock.texts.value, dock.device.value = TEXT, "cpu"
    wait = QEventLoop()
    dock.work.told.connect(lambda *step: print(*step, flush=True))
    dock.work.ended.connect(lambda _: QTimer.singleShot(1000, wait.quit))
    dock.run.native.click()
    wait.exec_()
    viewer.dims.set_current_step(0, SLICE)
    viewer.reset_view()
    viewer.screenshot(str(picture), canvas_only=False, flash=False)
    print(dock.report.value)
    viewer.close()


if __name__ == "__main__":
    run(draw, __doc__)
