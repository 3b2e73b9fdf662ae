"""The headers that a browser sends with a request: which, with which values, in which order. Pure:
plain values in, plain values out, no Scrapy and no I/O.

    classify        what a request is: a page, a fetch(), an image ...
    request         a request as a browser sees it, and the relations that its headers follow from
    sites           origins, sites, trustworthiness
    referrer        the Referer header
    cookies         which cookies travel along
    target          what the impersonated browser contributes
    client_hints    what it answers to Accept-CH
    chromium        tables: names and order of each kind of request; so gecko, webkit
    blink_order     the order of headers that a script or the renderer sets in Chromium
    headers         puts it all together
    contradictions  what no browser ever sends
"""
