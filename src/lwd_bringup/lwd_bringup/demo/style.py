# SPDX-License-Identifier: Apache-2.0
"""The report's style sheet."""

CSS = '''
:root { --ink: #1f2933; --soft: #7b8794; --line: #e4e7eb; --paper: #ffffff; --back: #f7f8fa; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 Inter, "Segoe UI", system-ui, -apple-system, "Helvetica Neue", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 44px 28px 60px; }
header h1 { font-size: 34px; font-weight: 650; letter-spacing: -.02em; margin: 0 0 4px; }
header p, .lead { color: var(--soft); margin: 0 0 26px; }
h2 { font-size: 21px; font-weight: 620; letter-spacing: -.01em; margin: 44px 0 10px; }
h3 { font-size: 13px; font-weight: 600; margin: 0 0 8px; color: var(--ink); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(158px, 1fr)); gap: 14px;
  margin-bottom: 22px; }
.card { background: var(--paper); border: 1px solid var(--line); border-top: 4px solid;
  border-radius: 8px; padding: 14px 16px 12px; }
.card h3 { color: var(--soft); font-weight: 550; margin: 0; }
.card p { margin: 0; color: var(--soft); font-size: 12.5px; }
.value { font-size: 27px; font-weight: 640; letter-spacing: -.02em; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.value small { font-size: 17px; font-weight: 500; margin-left: 1px; color: var(--soft); }
section { display: grid; gap: 16px; }
.two { grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); }
.three { grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); }
figure { margin: 0; background: var(--paper); border: 1px solid var(--line); border-radius: 8px;
  padding: 16px 18px 12px; }
figcaption, .empty { color: var(--soft); font-size: 12.5px; margin-top: 4px; }
svg { display: block; width: 100%; height: auto; font-family: inherit; }
.strip { margin-bottom: 16px; }
.strip h3 { display: flex; gap: 10px; align-items: baseline; }
.strip small { color: var(--soft); font-weight: 400; margin-left: auto; }
.success, .failure { font-size: 11.5px; padding: 1px 8px; border-radius: 9px; font-weight: 550; }
.success { background: #e2f4ec; color: #1f7a52; }
.failure { background: #fae6e6; color: #a83737; }
.frames { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 4px;
  margin-bottom: 6px; }
.frames img { width: 100%; border-radius: 4px; display: block; }
.phases { display: flex; gap: 3px; margin-top: 8px; }
.phases div { background: #e8eefb; padding: 8px 10px; min-width: 0; font-size: 12px;
  overflow: hidden; white-space: nowrap; text-overflow: ellipsis; }
.phases div:first-child { border-radius: 8px 0 0 8px; }
.phases div:last-child { border-radius: 0 8px 8px 0; }
.phases b { display: block; font-weight: 570; overflow: hidden; text-overflow: ellipsis; }
.phases span { color: var(--soft); }
footer { margin-top: 40px; color: var(--soft); }
table { border-collapse: collapse; font-size: 13px; }
th { text-align: left; font-weight: 500; padding: 2px 24px 2px 0; }
td { color: var(--ink); font-variant-numeric: tabular-nums; }
'''
