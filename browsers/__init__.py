"""What real browsers send, and what download handlers send in their place: `make browsers`.

- `situations`: the 46 situations, each with the steps that lead there.
- `sites`: the origins in which they take place, and what these have seen.
- `namespace`: a network of its own for all of it, in which the sites have their names and ports.
- `desktop`: a screen, a keyboard and a mouse. `installed`: the browsers on it.
- `record`: a browser's walk through the situations; `walk`: a crawl's.
- `table`: the two compared, as `docs/browsers_table.md`.
"""
