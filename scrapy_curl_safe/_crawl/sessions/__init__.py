"""Sessions: each is one visitor, with a proxy, cookies and a browser of its own. Pure, but for
`saved`: the time comes as an argument."""
