"""The plot is one SVG that shows every policy and needs nothing from elsewhere."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from calibration.test_recommendation import a_policy
from crl_stream.calibration.drawing import draw


def test_the_plot_is_valid_names_every_policy_and_loads_nothing() -> None:
    present = a_policy("present <&>", 8.0, 0.5)
    text = draw('"a/t"', [present, a_policy("other", 0.0, 1.0, present=present)], 0.2, "other")
    root = ET.fromstring(text)  # noqa: S314 - we drew it
    said = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"present <&>", "other", "recommended"} <= set(said)
    assert text.count("http") == 1, "only the XML namespace"
    width = float(root.attrib["width"])
    assert all(0.0 <= float(node.attrib["cx"]) <= width for node in root.iter("{http://www.w3.org/2000/svg}circle"))
