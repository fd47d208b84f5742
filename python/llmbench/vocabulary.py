"""Common English words, four letters each and one token each (with a space before them) in the usual
byte-pair vocabularies.

All have one length, so that a prompt of n words is a slice of a table and costs no per-word Python.
"""

from __future__ import annotations

WORDS: tuple[str, ...] = tuple(
    """
    that with from this have your more they were part also time been into over them when some than work year
    know form what need like such only said just most back fact well long many make each high help read look
    even find show very hand good down does call play much test both made want same life word real lead term
    mark here take must cell self pass list care name last book case post best less open line head rest type
    home four mean cost come plan turn view next feel team left text area free step days keep land body true
    side food port week give able full away kind role path sent past size rate fund base five risk pain game
    mind hold user done tool code wind face file mass page once tell city fall went ways half unit room root
    near link walk camp live move site date idea eyes draw deep bill easy stay card miss film foot plus held
    load sort door feed host wall felt news heat late fast acid feet pack road hope wait deal dark stop soon
    slow thus ball uses band seek tour tree hour bank town wide poor goal skin note song pull task kids nine
    fair item rule fish copy farm safe cool hear soil roll bond hair wood cold fine wild blue gain zero poll
    save gold rock core cast vote mode rich rise pair paid bird weak sets park gets born race rare wave burn
    rain gone onto push
    """.split()  # noqa: SIM905
)
