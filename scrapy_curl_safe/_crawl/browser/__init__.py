"""Computes the headers that a browser sends with a request: their names, values and order. Pure:
plain values in, plain values out, no Scrapy and no I/O.

    classify        what a request is: a page, a fetch(), an image ...
    request         a request as a browser sees it, and the facts that its headers follow from
    sites           origins, sites, trustworthiness
    referrer        the Referer header
    cookies         which cookies a request carries
    target          what the impersonated browser contributes
    client_hints    what a Chromium answers to Accept-CH
    chromium        tables of the headers of each kind of request; likewise gecko and webkit
    blink_order     the order of headers that a script or the renderer sets in Chromium
    headers         computes the headers from all of these
    contradictions  what no browser ever sends
"""
