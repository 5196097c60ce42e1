"""In a browser: corrections by mouse and keyboard, other words, examples, layers, presets and grey levels."""

from __future__ import annotations

import shutil

import pytest
import web_steps as steps

from medclipsam_monai.phantoms.samples import sample_folder

TWENTY_CLICKS = """async ([x, y]) => {
  for (let number = 0; number < 20; number += 1) {
    const at = { clientX: x + 4 * (number % 5), clientY: y + 4 * Math.floor(number / 5), bubbles: true, button: 0 };
    document.querySelector("svg.drawing").dispatchEvent(new PointerEvent("pointerdown", at));
    document.querySelector("svg.drawing").dispatchEvent(new PointerEvent("pointerup", at));
    await new Promise((done) => setTimeout(done, 45));
  }
}"""


@pytest.fixture
def asked(page):
    """The page with a chest X-ray that was asked for lungs."""
    page.click("#sample-xray")
    page.wait_for_selector("#facts .card", timeout=steps.SECONDS)
    return page


def marks(page) -> int:
    return page.locator("svg.drawing .layer-clicks .dot, svg.drawing .layer-clicks rect").count()


def wait_for_marks(page, count: int) -> None:
    page.wait_for_function(
        "count => document.querySelectorAll('svg.drawing .layer-clicks .dot, svg.drawing .layer-clicks rect').length "
        "=== count && !document.querySelector('svg.drawing .sent')",
        arg=count,
        timeout=steps.SECONDS,
    )


@pytest.mark.parametrize("page", [1280, 390], indirect=True)
def test_clicks_and_boxes_change_the_mask_and_can_be_taken_back(asked):
    by_text = steps.masks(asked)
    steps.click(asked, 0.5, 0.6)
    steps.wait_for_change(asked, by_text)
    by_click = steps.masks(asked)
    steps.drag(asked, (0.4, 0.45), (0.7, 0.75))
    steps.wait_for_change(asked, by_click)
    assert marks(asked) == 2 and "Corrected by 2 clicks or boxes" in asked.inner_text("#facts")
    asked.click("#undo")
    wait_for_marks(asked, 1)
    assert steps.masks(asked) == by_click
    asked.click("#clear")
    wait_for_marks(asked, 0)
    assert steps.masks(asked) == by_text


def test_corrections_by_keyboard(asked):
    before = steps.masks(asked)
    asked.locator("#viewer .stage").focus()
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowDown", "Enter"):
        asked.keyboard.press(key)
    steps.wait_for_change(asked, before)
    before = steps.masks(asked)
    for key in ("b", "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowDown", "Shift+ArrowDown", "b"):
        asked.keyboard.press(key)
    steps.wait_for_change(asked, before)
    assert marks(asked) == 2


def test_twenty_clicks_in_a_second_all_count(asked):
    x, y = steps.place(asked, 0.35, 0.4)
    asked.evaluate(TWENTY_CLICKS, [x, y])
    wait_for_marks(asked, 20)
    assert "Corrected by 20 clicks" in asked.inner_text("#facts")
    assert asked.query_selector("#status .error") is None


def test_layers_are_switched_without_asking_anew(asked):
    for layer in ("saliency", "coarse", "prompts"):
        assert not asked.locator(f"svg.drawing .layer-{layer}").is_visible()
        asked.check(f"#layers input[name={layer}]")
        asked.wait_for_function(
            "layer => getComputedStyle(document.querySelector(`.layer-${layer}`)).display !== 'none'", arg=layer
        )
    assert asked.locator("svg.drawing .layer-prompts rect").count() == 1
    asked.uncheck("#layers input[name=mask]")
    asked.wait_for_function("getComputedStyle(document.querySelector('.layer-mask')).display === 'none'")


def test_other_words_show_agreement_and_spread(asked):
    asked.click("text=The same request in other words")
    asked.click("#reword")
    asked.wait_for_selector("#words table", timeout=steps.SECONDS)
    assert asked.locator("#words tbody tr").count() == 10
    assert "Agreement" in asked.inner_text("#words") and "sizes from" in asked.inner_text("#words")
    assert asked.locator("svg.drawing .layer-words path").count() == 10


def test_examples_stand_in_for_words_and_go_again(asked, tmp_path):
    for number in range(2):
        name = f"xray_0{number}.png"
        shutil.copy(sample_folder() / "images" / name, tmp_path / name)
        shutil.copy(sample_folder() / "labels" / name, tmp_path / f"xray_0{number}_mask.png")
    before = steps.masks(asked)
    asked.fill("#text textarea, #text input", "")
    asked.click("text=Examples instead of words")
    asked.set_input_files("#example-files input[type=file]", sorted(tmp_path.iterdir()))
    steps.wait_for_change(asked, before)
    assert asked.inner_text("#facts h3") == "examples" and "examples are used" in asked.inner_text("#status")
    asked.click("#no-examples")
    assert "the text is empty" in steps.error(asked)


def test_a_task_of_the_preset_brings_its_parameters_and_a_window_shows_other_grey_levels(asked):
    asked.click("#task input")
    asked.click("[role=option]:has-text('nerve_ultrasound'), li:has-text('nerve_ultrasound')")
    asked.wait_for_function("document.querySelector('#facts .computed').innerText.includes('anew: mask.')")
    picture = asked.get_attribute("svg.drawing .layer-image", "href")
    asked.click("text=Grey levels and cut")
    asked.fill("#centre input", "128")
    asked.fill("#width input", "60")
    asked.click("#window input")
    asked.click("[role=option]:has-text('centre and width'), li:has-text('centre and width')")
    asked.wait_for_function(
        "href => document.querySelector('svg.drawing .layer-image').getAttribute('href') !== href", arg=picture
    )
