"""All that a project changes, whichever of the four handlers it used before."""

ADDONS = {"scrapy_curl_safe.Addon": 500}
CURL_SAFE_COMPAT = True
TELNETCONSOLE_ENABLED = False
REMOTE_CONTROL_ENABLED = False
