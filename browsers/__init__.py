"""Compares what real browsers and download handlers send: `make browsers`.

- `situations`: the 46 situations, each with the steps that lead there.
- `sites`: the origins where they take place, and the requests that these received.
- `namespace`: an isolated network, in which the sites have their names and ports.
- `desktop`: a screen, a keyboard and a mouse. `installed`: the browsers on it.
- `record`: a browser's walk through the situations; `walk`: a crawl's.
- `table`: the comparison of the two, as `docs/browsers_table.md`.
"""
