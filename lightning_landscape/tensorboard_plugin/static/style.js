// The style of the page. It is a string, because TensorBoard allows no style sheet as a file.

export const STYLE = `
:root { color-scheme: light; --ground: #f6f7f8; --card: #fff; --ink: #22282d; --soft: #5d6870; --faint: #e7eaec; --edge: #dde1e4;
  --blue: #0072b2; --ghost: #5b7c99; --good: #00795a; --quiet: #33658a; --unsure: #9a6700; --alarm: #c2410c; --zero: #c9ced3; --bar: #8a9096; --code: #eef1f3;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b0468a; --c4: #a67c00; --c5: #3d9fd6; --c6: #6a5acd; --c7: #7a5c45;
  --m0: #8a6200; --m1: #b0468a; --m2: #00795a; --m3: #6a5acd;
  --good-wash: #e2f3ed; --quiet-wash: #e5eef5; --unsure-wash: #fbf0d9; --alarm-wash: #fdebe2; }
:root[data-theme=dark] { color-scheme: dark; --ground: #16191c; --card: #1f2327; --ink: #e6e9eb; --soft: #a2adb5; --faint: #2c3237; --edge: #343b41;
  --blue: #58b4ea; --ghost: #86a5bd; --good: #4cc9a0; --quiet: #8bbce0; --unsure: #e8b64c; --alarm: #ff9466; --zero: #4a5259; --bar: #7d868d; --code: #2c3237;
  --c0: #58b4ea; --c1: #ff9466; --c2: #4cc9a0; --c3: #e695c6; --c4: #e8c15a; --c5: #9cd5f7; --c6: #a99cf5; --c7: #c9a58a;
  --m0: #e8c15a; --m1: #e695c6; --m2: #4cc9a0; --m3: #a99cf5;
  --good-wash: #17332b; --quiet-wash: #1c2f3d; --unsure-wash: #382c12; --alarm-wash: #41231480; }
body { margin: 0; background: var(--ground); }
.landscape { font: 14px/1.5 Roboto, "Segoe UI", system-ui, -apple-system, sans-serif; color: var(--ink); background: var(--ground); padding: 20px 24px 40px; min-height: 100vh; box-sizing: border-box; }
.landscape *, .landscape *::before { box-sizing: border-box; }
.landscape [hidden] { display: none !important; }
.landscape header { display: flex; align-items: baseline; gap: 10px; margin-bottom: 16px; }
.landscape h1 { font-size: 20px; font-weight: 600; margin: 0; letter-spacing: -.01em; }
.landscape header p { margin: 0; color: var(--soft); }
.landscape nav { margin-left: auto; display: flex; gap: 8px; }
.landscape button { font: inherit; font-size: 13px; color: var(--ink); background: var(--card); border: 1px solid var(--edge); border-radius: 6px; padding: 3px 11px; cursor: pointer; }
.landscape button:hover { border-color: var(--soft); }
.landscape button[aria-pressed=true] { background: var(--quiet-wash); border-color: var(--quiet); }
.landscape :focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
.landscape input[type=search] { font: inherit; font-size: 13px; color: var(--ink); background: var(--card); border: 1px solid var(--edge); border-radius: 6px; padding: 3px 9px; margin: 0 0 8px; }
.landscape .short { overflow: hidden; text-overflow: ellipsis; }
.landscape .runs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 0 20px; }
.landscape.single > * { max-width: 1240px; margin-left: auto; margin-right: auto; }
.landscape .why { display: grid; gap: 4px 28px; } .landscape.single .why { grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); align-items: start; }
.landscape article { min-width: 0; }
.landscape:not(.single) article { display: grid; grid-row: span 12; grid-template-rows: subgrid; grid-template-columns: minmax(0, 1fr); }
.landscape:not(.single) .figures { display: contents; }
.landscape:not(.single) article > .run { grid-row: 1; } .landscape:not(.single) .verdict { grid-row: 2; } .landscape:not(.single) article figure { grid-row: var(--row); } .landscape:not(.single) .notes { grid-row: 12; }
.landscape .run { margin: 0 0 6px; font: 12.5px ui-monospace, "Roboto Mono", Menlo, Consolas, monospace; color: var(--soft); white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.landscape .verdict, .landscape figure { background: var(--card); border: 1px solid var(--edge); border-radius: 10px; padding: 14px 16px; margin: 0 0 16px; }
.landscape .verdict { border-left-width: 5px; }
.landscape .verdict.good { border-left-color: var(--good); } .landscape .verdict.quiet { border-left-color: var(--quiet); }
.landscape .verdict.unsure { border-left-color: var(--unsure); } .landscape .verdict.alarm { border-left-color: var(--alarm); }
.landscape .verdict .mark { display: inline-block; margin: 0 0 6px; padding: 1px 10px 1px 8px; border-radius: 10px; font-size: 12px; font-weight: 600; }
.landscape .good .mark { color: var(--good); } .landscape .quiet .mark { color: var(--quiet); } .landscape .unsure .mark { color: var(--unsure); } .landscape .alarm .mark { color: var(--alarm); }
.landscape .verdict.good .mark { background: var(--good-wash); } .landscape .verdict.quiet .mark { background: var(--quiet-wash); }
.landscape .verdict.unsure .mark { background: var(--unsure-wash); } .landscape .verdict.alarm .mark { background: var(--alarm-wash); }
.landscape h2 { font-size: 18px; font-weight: 600; margin: 0 0 2px; letter-spacing: -.01em; overflow-wrap: anywhere; }
.landscape .verdict p { margin: 6px 0; max-width: 76ch; overflow-wrap: anywhere; }
.landscape .verdict .facts { color: var(--soft); font-size: 13px; margin: 0 0 8px; font-variant-numeric: tabular-nums; }
.landscape .try { padding: 8px 12px; background: var(--ground); border-radius: 6px; }
.landscape details { margin-top: 8px; font-size: 13px; }
.landscape summary { cursor: pointer; color: var(--soft); }
.landscape table { border-collapse: collapse; margin-top: 6px; font-variant-numeric: tabular-nums; }
.landscape th { text-align: left; font-weight: 400; color: var(--soft); padding: 2px 18px 2px 0; overflow-wrap: anywhere; }
.landscape td { padding: 2px 0; overflow-wrap: anywhere; }
.landscape .scroll { max-height: 300px; overflow: auto; }
.landscape ol { margin: 6px 0 0; padding-left: 22px; }
.landscape .figures { display: grid; grid-template-columns: minmax(0, 1fr); gap: 0 20px; }
.landscape.single .figures { grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); } .landscape.single figure:last-child:nth-child(odd) { grid-column: 1 / -1; }
.landscape h3 { font-size: 14px; font-weight: 600; margin: 0; }
.landscape .stage { min-height: 60px; }
.landscape .explore { position: relative; border-radius: 4px; touch-action: pan-y; }
.landscape svg { display: block; overflow: visible; } .landscape canvas { position: absolute; left: 0; top: 0; } .landscape svg.over { position: relative; }
.landscape canvas.under { border-radius: 2px; }
.landscape text { font-size: 11px; fill: var(--soft); font-variant-numeric: tabular-nums; }
.landscape text.label { font-size: 10.5px; }
.landscape text.place { font-size: 11.5px; fill: #fff; paint-order: stroke; stroke: #000a; stroke-width: 3px; stroke-linejoin: round; }
.landscape text.name { fill: var(--soft); }
.landscape .plain .grid line:not(.axis):not(.tick) { display: none; }
.landscape .grid line { stroke: var(--faint); } .landscape .grid .axis, .landscape .grid .tick { stroke: var(--edge); }
.landscape .line { fill: none; stroke: var(--blue); stroke-width: 2; stroke-linejoin: round; } .landscape .line.down { stroke: var(--alarm); }
.landscape .ghost { fill: none; stroke: var(--ghost); stroke-width: 1; opacity: .38; }
.landscape .chord { fill: none; stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 4; opacity: .8; }
.landscape .band { fill: var(--blue); opacity: .16; }
.landscape .beyond { fill: var(--faint); opacity: .7; }
.landscape .dot { fill: var(--blue); } .landscape .dot.down { fill: var(--alarm); }
.landscape .stem { stroke: var(--blue); stroke-width: 1.5; } .landscape .stem.down { stroke: var(--alarm); }
.landscape .cross { stroke: var(--alarm); stroke-width: 1.6; }
.landscape .segment.good { fill: var(--good); } .landscape .segment.quiet { fill: var(--quiet); } .landscape .segment.unsure { fill: var(--unsure); } .landscape .segment.alarm { fill: var(--alarm); }
.landscape .segment rect { opacity: .24; } .landscape .segment text { fill: var(--ink); }
.landscape .flag { stroke-width: 1.2; stroke-dasharray: 2 3; } .landscape .flag.alarm { stroke: var(--alarm); } .landscape .flag.quiet { stroke: var(--quiet); } .landscape .flag.unsure { stroke: var(--unsure); } .landscape .flag.good { stroke: var(--good); }
.landscape .cursor line { stroke: var(--soft); stroke-width: 1; } .landscape .cursor circle { fill: var(--card); stroke: var(--ink); stroke-width: 1.6; }
.landscape .cursor .frame { fill: none; stroke: var(--ink); stroke-width: 1.6; } .landscape .cursor .ring { fill: none; stroke: var(--ink); stroke-width: 1.6; }
.landscape .track { fill: none; stroke: #fff; stroke-width: 1.8; } .landscape .track.under { stroke: #0007; stroke-width: 3.6; }
.landscape .spot { fill: #fff; stroke: #0008; } .landscape .spot.now { fill: var(--alarm); stroke: #fff; stroke-width: 1.6; }
.landscape .tip { position: absolute; z-index: 2; pointer-events: none; display: grid; width: max-content; max-width: min(300px, 90%); background: var(--card); color: var(--ink); border: 1px solid var(--edge); border-radius: 6px; box-shadow: 0 4px 16px #0002; padding: 6px 10px; font-size: 12.5px; line-height: 1.4; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.landscape .controls { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 16px; margin-top: 8px; }
.landscape .controls label { display: flex; align-items: center; gap: 10px; flex: 1 1 220px; font-size: 12.5px; color: var(--soft); font-variant-numeric: tabular-nums; }
.landscape input[type=range] { flex: 1; min-width: 90px; accent-color: var(--blue); }
.landscape .choice { display: flex; flex-wrap: wrap; gap: 4px; } .landscape .choice button { font-size: 12.5px; padding: 1px 9px; max-width: 240px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.landscape .notes { color: var(--soft); font-size: 13px; margin: 0 0 16px; padding-left: 18px; overflow-wrap: anywhere; } .landscape .note { color: var(--soft); font-size: 13px; }
.landscape .message { margin-block: 24px; max-width: 76ch; } .landscape .message:empty { display: none; } .landscape .message p { margin: 6px 0; color: var(--soft); }
.landscape pre { background: var(--card); border: 1px solid var(--edge); border-radius: 8px; padding: 12px 16px; overflow: auto; } .landscape pre, .landscape code { font: 13px ui-monospace, "Roboto Mono", Menlo, Consolas, monospace; color: var(--ink); overflow-wrap: anywhere; }
.landscape .picker { background: var(--card); border: 1px solid var(--edge); border-radius: 10px; margin-bottom: 16px; overflow: hidden; }
.landscape .picker .bar { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: 6px 16px; padding: 10px 16px; }
.landscape .picker .summary { margin: 0; font-weight: 600; } .landscape .picker input[type=search] { width: 230px; }
.landscape .picker .scroll { max-height: 340px; overflow: auto; border-top: 1px solid var(--edge); }
.landscape .table { width: 100%; margin: 0; font-size: 13px; }
.landscape .table th, .landscape .table td { padding: 5px 12px 5px 0; vertical-align: middle; overflow-wrap: normal; }
.landscape .table tr > :first-child { padding-left: 16px; }
.landscape .table thead th { position: sticky; top: 0; z-index: 1; background: var(--card); color: var(--soft); font-size: 12px; box-shadow: inset 0 -1px var(--edge); }
.landscape .table tbody tr + tr > * { border-top: 1px solid var(--faint); }
.landscape .table tbody tr:hover { background: var(--ground); } .landscape .table tr.chosen { background: var(--quiet-wash); }
.landscape .name { display: flex; align-items: center; gap: 8px; } .landscape .name input { accent-color: var(--blue); margin: 0; flex: none; }
.landscape .name button { border: 0; background: none; padding: 2px 0; color: var(--ink); text-align: left; max-width: 300px; white-space: nowrap; } .landscape .name button:hover { text-decoration: underline; }
.landscape .table .state { min-width: 190px; } .landscape .table .finding { display: block; color: var(--soft); padding-left: 16px; }
.landscape .table .since, .landscape .table .steps, .landscape .table .news { color: var(--soft); } .landscape .table .since { white-space: nowrap; } .landscape .table .steps { min-width: 132px; }
.landscape .done { display: block; height: 3px; border-radius: 2px; background: var(--faint); margin-top: 3px; max-width: 170px; } .landscape .done span { display: block; height: 100%; border-radius: 2px; background: var(--soft); }
.landscape .table .loss { white-space: nowrap; } .landscape .table .loss svg { display: inline-block; vertical-align: middle; margin-right: 8px; } .landscape .spark .line { stroke-width: 1.4; }
@media (max-width: 860px) { .landscape .spark { display: none !important; } .landscape .name button { max-width: 150px; } .landscape .table .state { min-width: 150px; } }
.landscape .multiples { display: grid; grid-template-columns: repeat(auto-fill, minmax(235px, 1fr)); gap: 12px; }
.landscape .multiple { display: grid; grid-template-columns: minmax(0, 1fr); grid-template-rows: auto minmax(2.7em, auto) auto 1fr; text-align: left; border-radius: 10px; padding: 10px 12px 8px; border-left-width: 4px; line-height: 1.35; }
.landscape .multiple .short { white-space: nowrap; font: 12px ui-monospace, "Roboto Mono", Menlo, Consolas, monospace; color: var(--soft); } .landscape .multiple .facts { color: var(--soft); font-size: 12px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.landscape .multiple svg { width: 100%; height: auto; align-self: end; margin-top: 4px; }
.landscape .multiple.good { border-left-color: var(--good); } .landscape .multiple.quiet { border-left-color: var(--quiet); } .landscape .multiple.unsure { border-left-color: var(--unsure); } .landscape .multiple.alarm { border-left-color: var(--alarm); }
.landscape .small .axis { stroke: var(--edge); } .landscape .small .state.good { fill: var(--good); } .landscape .small .state.quiet { fill: var(--quiet); } .landscape .small .state.unsure { fill: var(--unsure); } .landscape .small .state.alarm { fill: var(--alarm); } .landscape .small .state { opacity: .45; }
.landscape figcaption { display: grid; grid-template-columns: minmax(0, 1fr) auto; align-items: baseline; gap: 0 12px; margin-bottom: 6px; }
.landscape .numbers, .landscape .remarks { color: var(--soft); font-size: 12.5px; font-variant-numeric: tabular-nums; margin: 0; } .landscape .numbers { grid-column: 1 / -1; } .landscape .remarks { font-size: 12px; margin-top: 4px; } .landscape .remarks:empty { display: none; }
.landscape .save { display: flex; gap: 2px; } .landscape .save button { border-color: transparent; background: none; color: var(--soft); font-size: 11px; padding: 0 5px; } .landscape .save button:hover { border-color: var(--edge); color: var(--ink); }
.landscape .whole { margin-top: 6px; } .landscape .back { float: right; }
.landscape .selection { fill: var(--blue); opacity: .14; }
.landscape .segment.chosen rect { opacity: .5; } .landscape .segment { cursor: pointer; }
.landscape .series { fill: none; stroke-width: 1.8; stroke-linejoin: round; transition: opacity .12s; } .landscape .pattern1 { stroke-dasharray: 6 3; } .landscape .pattern2 { stroke-dasharray: 2 3; }
.landscape .colour0 { stroke: var(--c0); } .landscape .colour1 { stroke: var(--c1); } .landscape .colour2 { stroke: var(--c2); } .landscape .colour3 { stroke: var(--c3); } .landscape .colour4 { stroke: var(--c4); } .landscape .colour5 { stroke: var(--c5); } .landscape .colour6 { stroke: var(--c6); } .landscape .colour7 { stroke: var(--c7); }
.landscape .series.lead { stroke-width: 1; opacity: .8; stroke-dasharray: 1 3; } .landscape .series.end { stroke-dasharray: none; fill: var(--card); } .landscape .faded { opacity: .13; }
.landscape .tag { cursor: pointer; } .landscape .tag text { fill: var(--ink); font-size: 11.5px; } .landscape .tag:hover text { text-decoration: underline; }
.landscape .tag.good .mark { fill: var(--good); } .landscape .tag.quiet .mark { fill: var(--quiet); } .landscape .tag.unsure .mark { fill: var(--unsure); } .landscape .tag.alarm .mark { fill: var(--alarm); }
.landscape .cursor circle.series { fill: var(--card); }
.landscape .try p:first-child { margin-top: 0; } .landscape .try p:last-child { margin-bottom: 0; } .landscape .try ol { margin: 4px 0 0; max-width: 76ch; } .landscape .try li + li { margin-top: 6px; } .landscape .why > div:last-child p:first-child { margin-top: 0; }
.landscape a { color: var(--blue); } .landscape .verdict code, .landscape .notes code { background: var(--code); border-radius: 4px; padding: 0 4px; font-size: 12px; }
.landscape tr.group th { font-weight: 600; color: var(--ink); padding-top: 8px; }
.landscape dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 3px 18px; margin: 6px 0 0; } .landscape dt { color: var(--soft); } .landscape dd { margin: 0; max-width: 90ch; overflow-wrap: anywhere; }
.landscape .bar.lower { fill: var(--blue); } .landscape .bar.higher { fill: var(--alarm); } .landscape .bar.going-on { fill: var(--bar); } .landscape .baseline { stroke: var(--ink); stroke-width: 1.2; stroke-dasharray: 4 3; } .landscape .grid .zero { stroke: var(--soft); }
.landscape text.trial, .landscape text.result { fill: var(--ink); } .landscape text.heading { font-weight: 600; }
.landscape path.rise { fill: none; stroke: var(--alarm); stroke-width: 2; } .landscape text.rise { fill: var(--alarm); font-weight: 600; paint-order: stroke; stroke: var(--card); stroke-width: 3px; stroke-linejoin: round; }
.landscape .also { border-top: 1px solid var(--edge); margin-top: 14px; padding-top: 12px; } .landscape .also.quiet .mark { background: var(--quiet-wash); color: var(--quiet); } .landscape .also.alarm .mark { background: var(--alarm-wash); color: var(--alarm); }
.landscape .metric { --metric: var(--blue); } .landscape .metric.of0 { --metric: var(--m0); } .landscape .metric.of1 { --metric: var(--m1); } .landscape .metric.of2 { --metric: var(--m2); } .landscape .metric.of3 { --metric: var(--m3); }
.landscape .metric .curve { fill: none; stroke: var(--metric); stroke-width: 2; stroke-linejoin: round; } .landscape .metric.training .curve { stroke-width: 1.6; } .landscape .metric .value { fill: var(--metric); }
.landscape .metric .stopped { fill: var(--metric); opacity: .1; } .landscape .metric .since { stroke: var(--metric); stroke-dasharray: 3 3; } .landscape .metric .best { fill: var(--metric); stroke: var(--card); stroke-width: 1.5; }
.landscape text.metric, .landscape .metric text { fill: var(--metric); } .landscape .metric text.mark { paint-order: stroke; stroke: var(--card); stroke-width: 3px; stroke-linejoin: round; }
.landscape .star { fill: #fff; stroke: #0009; stroke-width: 1; stroke-linejoin: round; }
@media (prefers-reduced-motion: no-preference) { .landscape button { transition: border-color .12s; } }
@media print { .landscape nav, .landscape .picker .bar input, .landscape .controls, .landscape .save { display: none; } .landscape { padding: 0; } }
`;
