"""Texts that say what is not there, which no mask can show: "no tumor", "the lungs are not visible"."""

from __future__ import annotations

import re

from medclipsam_monai.prompts.targets import TextTarget

_SEEN = r"(?:seen|visible|present|shown|found|detected|identified|there)"
_PICTURE = (
    r"(?:image|picture|scan|slice|view|x-?rays?|radiographs?|radiography|photographs?|ct|mri?|ultrasound|sonogram|"
    r"mammogram|tomography|dermoscopy|dermatoscopy|microscopy|micrograph|colonoscopy|stained tissue)"
    r"(?: of (?:an? |the )?\w+(?: lobe)?)?"
)
_OF_IT = r"(?:(?:evidence|signs?|traces?|indications?) (?:of|for) )?(?:(?:an?|the|any) )?"
_NO = r"(?:no(?! ?\d)|not(?! only| otherwise)|without(?! (?:\w+ )?contrast)|ohne|kein(?:e[mnrs]?)?|neither|never)"
_END = rf"(?:(?: (?:is|are|was|were|can be))?(?: {_SEEN})?(?: (?:in|on) (?:this|the) .*)?)[.!]?"
_DENIALS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:there (?:is|are|was|were) )?{_NO} (?!man's){_OF_IT}(?P<what>.+?){_END}",
        rf"(?:the )?(?:absence|lack) of {_OF_IT}(?P<what>.+?){_END}",
        rf"negative for {_OF_IT}(?P<what>.+?){_END}",
        rf"(?:(?:this|the|an?) )?(?P<what>.+?) (?:is|are|was|were|can) ?(?:not|n't) (?:be )?{_SEEN}\b.*",
        rf"(?:the )?(?P<what>.+?) (?:(?:is|are|was|were) )?(?:absent|not {_SEEN})\b.*",
        rf"(?:.* )?{_PICTURE},? (?:(?:with|(?:that )?(?:shows?|showing|has|having)) no|without(?! (?:\w+ )?contrast)|"
        rf"(?:that )?does(?: not|n't) (?:show|have)) {_OF_IT}(?P<what>.+?){_END}",
    )
)


def denied(sentence: str) -> str | None:
    """What a sentence says is absent, in its own words; None if it names something that may be seen.

    Examples:
        >>> denied("There is no evidence of a brain tumor."), denied("non-small cell lung cancer")
        ('brain tumor', None)
    """
    words = " ".join(sentence.split())
    found = next((match for pattern in _DENIALS if (match := pattern.fullmatch(words))), None)
    return None if found is None else found["what"]


def denial_warning(target: TextTarget) -> str | None:
    """A line for a class of which a sentence says that it is absent; what is given as its opposites does not count."""
    for sentence in target.sentences:
        what = denied(sentence)
        if what is not None:
            return f"{sentence!r} says that something is absent; a mask can only show what is there: ask for {what!r}"
    return None
