"""The style sheet of the page: colours, type and spacing are those of the dashboard.

The page must look right wherever it is opened, years later and without a network. So it uses the fonts of the system,
and no feature that needs the newest browsers.
"""

from __future__ import annotations

from typing import Final

_LIGHT: Final = (
    "--bg:#f4f5f7;--card:#fff;--sunken:#f0f2f5;--line:#e2e5ea;--line-2:#cdd3da;--text:#12161b;--text-2:#47505b;"
    "--text-3:#5d6773;--accent:#2b52c8;--ok:#0b6e63;--ok-fill:#2b9a8b;--bad:#b43309;--bad-fill:#d1470f;--warn:#7d5200;"
    "--warn-fill:#b57a00;--hold:#5a3fc0;--lane:#dfe5f7;--lane-2:#e6e9ee;--add:#e9f5f3;--del:#fbece6"
)
_DARK: Final = (
    "--bg:#0b0e12;--card:#12161b;--sunken:#0e1216;--line:#222932;--line-2:#333d48;--text:#e9edf2;--text-2:#b0bac6;"
    "--text-3:#919dab;--accent:#93b2ff;--ok:#5ad3c1;--ok-fill:#2f9a8c;--bad:#ff9468;--bad-fill:#f26b36;--warn:#f2bf4b;"
    "--warn-fill:#d99a1c;--hold:#bba8ff;--lane:#25335c;--lane-2:#262d36;--add:#13272a;--del:#2e1d18"
)

STYLE: Final = f"""
:root{{color-scheme:light dark;{_LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
*{{box-sizing:border-box}}
html{{-webkit-text-size-adjust:100%}}
body{{margin:0;background:var(--bg);color:var(--text);font:400 14px/20px Inter,ui-sans-serif,system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:break-word}}
code,td{{overflow-wrap:anywhere}}
h1,h2,h3,p,ul,dl,dd{{margin:0;padding:0}}
ul{{list-style:none}}
h1{{font-size:22px;line-height:28px;font-weight:600;letter-spacing:-.015em}}
h2{{font-size:14px;line-height:20px;font-weight:600}}
h3{{font-size:13px;line-height:20px;font-weight:600}}
code,.mono{{font-family:ui-monospace,"SF Mono","Cascadia Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;
font-size:12.5px}}
main{{max-width:1120px;margin:0 auto;padding:24px;display:grid;gap:20px;grid-template-columns:minmax(0,1fr)}}
.dim{{color:var(--text-2)}}
.small{{font-size:12.5px;line-height:18px;color:var(--text-2)}}
.card{{background:var(--card);border:1px solid var(--line);border-radius:10px;min-width:0}}
.card>header{{padding:12px 20px;border-bottom:1px solid var(--line);display:flex;flex-wrap:wrap;gap:2px 12px;
align-items:baseline;justify-content:space-between}}
.pad{{padding:16px 20px;display:grid;gap:12px;grid-template-columns:minmax(0,1fr)}}
.top{{display:grid;gap:8px}}
.lede{{font-size:15px;line-height:23px;max-width:80ch;color:var(--text-2)}}
.note{{border-left:3px solid var(--warn-fill);padding:2px 0 2px 12px;color:var(--warn);max-width:90ch}}
.stats{{display:grid;grid-template-columns:repeat(6,minmax(0,1fr))}}
.stats>div{{padding:14px 20px;border-left:1px solid var(--line)}}
.stats>div:first-child{{border-left:0}}
.stats dt{{font-size:12px;line-height:16px;color:var(--text-3)}}
.stats dd{{font-size:28px;line-height:34px;font-weight:600;letter-spacing:-.02em}}
.stats dd+dd{{font-size:12.5px;line-height:16px;font-weight:400;color:var(--text-2);letter-spacing:0}}
.zero{{color:var(--text-3)}}
table{{width:100%;border-collapse:collapse;font-size:13px}}
th{{text-align:left;font-size:12px;line-height:16px;font-weight:500;color:var(--text-3);padding:6px 12px 6px 0;
border-bottom:1px solid var(--line);vertical-align:bottom}}
td{{padding:7px 12px 7px 0;border-bottom:1px solid var(--line);vertical-align:top}}
tr:last-child td{{border-bottom:0}}
th:last-child,td:last-child{{padding-right:0}}
.num{{text-align:right;white-space:nowrap}}
.chg{{white-space:nowrap;font-weight:500}}
.chg::before{{display:inline-block;width:16px;font-family:ui-monospace,Menlo,Consolas,monospace}}
.added::before{{content:"+"}}.removed::before{{content:"\\2212"}}
.earlier::before{{content:"\\2190"}}.later::before{{content:"\\2192"}}
.added{{color:var(--accent)}}.removed{{color:var(--hold)}}.earlier{{color:var(--ok)}}.later{{color:var(--warn)}}
.why{{display:block;color:var(--text-2);font-size:12.5px;line-height:18px}}
.diff{{border:1px solid var(--line);border-radius:6px;overflow:hidden}}
.diff table{{font-size:12.5px}}
.diff th{{padding:6px 12px}}.diff td{{padding:5px 12px}}
.diff td:nth-child(2){{background:var(--del)}}.diff td:nth-child(3){{background:var(--add)}}
.scroll{{overflow-x:auto;margin:0 -20px;padding:0 20px;background:
linear-gradient(90deg,var(--card) 40%,transparent) 0 0/40px 100% no-repeat local,
linear-gradient(270deg,var(--card) 40%,transparent) 100% 0/40px 100% no-repeat local,
linear-gradient(90deg,var(--line-2),transparent) 0 0/10px 100% no-repeat scroll,
linear-gradient(270deg,var(--line-2),transparent) 100% 0/10px 100% no-repeat scroll}}
.scroll:focus-visible{{outline:2px solid var(--accent);outline-offset:-2px}}
.time{{display:block;max-width:none;font:400 11.5px Inter,ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,
Arial,sans-serif}}
.time text{{fill:var(--text-2)}}.time .tick{{fill:var(--text-3);text-anchor:middle}}
.time .side{{fill:var(--text-3)}}.time .var{{fill:var(--text)}}
.time .v0{{fill:var(--lane)}}.time .v1{{fill:var(--lane-2);stroke:var(--line-2);stroke-width:.75}}
.time .s{{fill:var(--ok-fill)}}.time .f{{fill:var(--bad-fill)}}
.time .e{{fill:none;stroke:var(--bad-fill);stroke-width:1.5}}
.time .m path,.time .m circle{{stroke:var(--card);stroke-width:1}}
.time .rollback{{fill:var(--bad-fill)}}.time .promotion,.time .activation{{fill:var(--ok-fill)}}
.time .alert{{fill:var(--warn-fill)}}.time .decision{{fill:var(--accent)}}
.time .refusal path{{fill:none;stroke:var(--text);stroke-width:2}}
.time .same{{opacity:.4}}
.time .link{{stroke:var(--text-3);stroke-width:1;stroke-dasharray:3 3}}
.legend{{display:flex;flex-wrap:wrap;gap:4px 16px;color:var(--text-2);font-size:12.5px}}
.legend li{{display:flex;align-items:center;gap:6px}}
details>summary{{cursor:pointer;color:var(--text-2);font-size:13px;padding:4px 0}}
details[open]>summary{{margin-bottom:8px}}
summary:focus-visible{{outline:2px solid var(--accent);outline-offset:2px;border-radius:4px}}
.facts{{display:grid;grid-template-columns:auto minmax(0,1fr);gap:4px 20px}}
.facts dt{{color:var(--text-3);font-size:12.5px}}
footer{{color:var(--text-3);font-size:12.5px;padding:0 4px}}
@media (max-width:720px){{
main{{padding:12px;gap:12px}}
.pad{{padding:14px 16px}}.card>header{{padding:10px 16px}}
.scroll{{margin:0 -16px;padding:0 16px}}
.stats{{grid-template-columns:repeat(2,minmax(0,1fr))}}
.stats>div{{padding:10px 16px}}.stats>div:nth-child(odd){{border-left:0}}
.stats>div:nth-child(n+3){{border-top:1px solid var(--line)}}
.stats dd{{font-size:24px;line-height:30px}}
details>summary{{padding:10px 0}}
.cards thead{{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}}
.cards table,.cards tbody,.cards tr{{display:block}}
.cards tr{{padding:10px 0;border-bottom:1px solid var(--line)}}.cards tr:last-child{{border-bottom:0}}
.cards td{{display:inline-block;padding:1px 14px 1px 0;border:0;text-align:left;white-space:normal}}
.cards td:first-child{{display:block;padding-right:0}}
.cards td:empty{{display:none}}.num .why{{display:inline}}.diff th,.diff td{{padding:6px 8px}}
.cards td[data-l]::before{{content:attr(data-l) " ";color:var(--text-3);font-size:12px}}
.facts{{grid-template-columns:minmax(0,1fr);gap:0}}.facts dd{{margin-bottom:8px}}
}}
@media print{{body{{background:#fff}}.card{{break-inside:avoid}}.scroll{{overflow:visible}}
.time{{width:100%;height:auto}}}}
@media (forced-colors:active){{.time *{{forced-color-adjust:none}}}}
"""
