"""In a browser: a reload, two tabs, a dropped connection, the end of a visit, a password, and other addresses."""

from __future__ import annotations

import time
from http.client import HTTPConnection

import pytest
import web_steps as steps
from web_server import served_page


def start(page) -> None:
    page.click("#sample-xray")
    page.wait_for_selector("#facts .card", timeout=steps.SECONDS)


def test_a_reload_finds_image_text_corrections_and_answer_again(page):
    start(page)
    before = steps.masks(page)
    steps.click(page, 0.5, 0.6)
    steps.wait_for_change(page, before)
    before = steps.masks(page)
    page.reload()
    page.wait_for_selector("#facts .card", timeout=steps.SECONDS)
    assert steps.masks(page) == before and page.input_value("#text textarea, #text input") == "lungs"
    steps.ask(page, "heart")


def test_two_tabs_have_their_own_images_and_links(page, served):
    start(page)
    other = page.context.new_page()
    other.goto(served.url)
    other.wait_for_selector("#viewer .empty")
    assert other.query_selector("#downloads a") is None
    other.click("#sample-brain")
    other.wait_for_selector("#facts .card", timeout=steps.SECONDS)
    assert (page.inner_text("#facts h3"), other.inner_text("#facts h3")) == ("lungs", "brain tumor")
    links = [one.get_attribute("#downloads a", "href") for one in (page, other)]
    assert links[0] != links[1] and all(len(link.split("/")[2]) > 40 for link in links)
    other.close()


def test_a_dropped_connection_is_taken_up_again(page):
    start(page)
    before = steps.masks(page)
    page.context.set_offline(True)
    page.fill("#text textarea, #text input", "heart")
    page.press("#text textarea, #text input", "Enter")
    page.wait_for_timeout(1500)
    with page.expect_navigation(timeout=steps.SECONDS):  # the page looks for its server, and loads itself anew
        page.context.set_offline(False)
    page.wait_for_selector("#facts .card", timeout=steps.SECONDS)
    assert steps.masks(page) == before and page.inner_text("#facts h3") == "lungs"
    steps.ask(page, "heart")


def test_what_was_sent_is_gone_when_the_page_is(browser, served):
    opened = browser.new_page()
    opened.goto(served.url)
    opened.wait_for_selector("#segment")
    start(opened)
    token = opened.get_attribute("#downloads a", "href").split("/")[2]
    visit = served.visits.by_address(token)
    assert list(visit.folder.rglob("*.png"))
    served.visits.kept_seconds, kept = 0.0, served.visits.kept_seconds
    try:
        opened.close()
        end = time.monotonic() + 40
        while visit.folder.exists() and time.monotonic() < end:
            time.sleep(0.5)
            served.visits.sweep()
    finally:
        served.visits.kept_seconds = kept
    assert not visit.folder.exists() and served.visits.by_address(token) is None
    assert status(served, f"/download/{token}/mask") == 404


def status(served, path: str, method: str = "GET", **headers: str) -> int:
    connection = HTTPConnection(served.url.removeprefix("http://"), timeout=20)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def test_other_names_and_other_pages_are_refused_and_nothing_is_told(served):
    assert status(served, "/") == 200
    assert status(served, "/", Host="evil.example") == 403
    assert status(served, "/gradio_api/queue/join", "POST", Origin="http://evil.example") == 403
    assert status(served, "/download/guessed/mask") == 404
    assert status(served, "/openapi.json") == 404
    for path in ("/etc/passwd", str(served.visits.folder)):
        assert status(served, f"/gradio_api/file={path}") in (403, 404)


def test_an_upload_that_is_too_large_is_refused_before_it_is_sent(served):
    """The answer comes while nothing of the two gigabytes that are announced was sent."""
    assert status(served, "/gradio_api/upload", "POST", Content_Length=str(2 * 10**9), Content_Type="x") == 413


def test_every_answer_lets_the_browser_load_nothing_from_elsewhere(served):
    connection = HTTPConnection(served.url.removeprefix("http://"), timeout=20)
    connection.request("GET", "/")
    policy = connection.getresponse().headers["content-security-policy"]
    connection.close()
    assert "default-src 'self'" in policy and "connect-src 'self'" in policy and "http" not in policy


@pytest.mark.parametrize("given", ["wrong password", "a good password"])
def test_a_page_with_a_password_opens_to_who_knows_it(browser, given):
    with served_page("a good password") as guarded:
        opened = browser.new_page()
        opened.goto(guarded.url)
        opened.wait_for_selector("input[type=password]")
        assert opened.query_selector("#segment") is None
        opened.fill("input:not([type=password])", "me")
        opened.fill("input[type=password]", given)
        opened.click("button:has-text('Login')")
        if given == "a good password":
            opened.wait_for_selector("#segment", timeout=steps.SECONDS)
        else:
            opened.wait_for_timeout(1500)
            assert opened.query_selector("#segment") is None
        opened.close()
