"""The help page that ``GET /_emulator/`` shows."""

HELP = """\
A local Management API of Amplitude Experiment.

The API is under /api/1, with the keys ampex_demo (both projects), ampex_maria (100001) and ampex_web (100002).
Its control routes are under /_emulator/. They need no key and accept requests from this machine only.

GET    /_emulator/                          this page
POST   /_emulator/reset                     restore the default state
POST   /_emulator/load                      {"projects", "keys", "deployments", "flags", "experiments",
                                            "mutexes", "holdouts", "settings", "clock_offset"}:
                                            adds, and replaces the same id
GET    /_emulator/dump                      the whole state, for load
GET    /_emulator/requests                  the numbers of requests, by route and by status
GET    /_emulator/requests/log              each request in order
DELETE /_emulator/requests                  clear the requests
POST   /_emulator/faults                    {"kind", "route", "methods", "skip", "times", "rate", ...}
GET    /_emulator/faults                    the faults, and how often each applied
DELETE /_emulator/faults                    remove all of them
DELETE /_emulator/faults/{id}               remove one
POST   /_emulator/edit                      {"kind", "id", "by", "fields"}: a person edits in the web app
POST   /_emulator/edit-before-write         the same, at the moment of the next API write to that object
POST   /_emulator/approvals                 {"hold": "all" | "percentages" | "segments" | "none"}
GET    /_emulator/approvals                 the changes that wait
POST   /_emulator/approvals/{id}/approve    {"by": "Olga"}
POST   /_emulator/approvals/{id}/reject
POST   /_emulator/clock                     {"advance": seconds}, {"offset": seconds} or {"speed": times}
POST   /_emulator/settings                  any of the settings
GET    /_emulator/settings                  all of them
GET    /_emulator/evaluate?kind=&id=...     the variant of a user: user_id=ann&gp:plan=pro
POST   /_emulator/evaluate                  {"kind", "id", "users": [{...}]}: the variants of many users
GET    /_emulator/{kind}/{id}               an object, not counted as a request
GET    /_emulator/{kind}/{id}/versions
GET    /_emulator/{kind}/{id}/variants/{variantKey}/users

Kinds of faults:
  status       answers "status" (with "body", "headers"); no work is done unless "after_work" is true
  html         answers 502 with a page; no work is done unless "after_work" is true
  redirect     answers 307 to "location"; no work is done unless "after_work" is true
  garbage      answers 200 with a body that is not JSON; no work is done unless "after_work" is true
  cut_before   cuts the connection; no work, no answer
  cut_after    does the work, then cuts the connection; no answer
  cut_body     does the work, sends the headers and half of the body, then cuts the connection
  slow         waits "seconds", then does the work, whether or not the caller is still there
  slow_after   does the work, waits "seconds", then answers
  wrong_date   answers correctly, with a Date header that is wrong by "offset" seconds (a week ahead)
  trickle      does the work, then sends the body byte by byte, one each "seconds"
  oversized    does the work, then sends "megabytes" of blanks (100)
  zip_bomb     the same, packed with gzip
A fault applies once; "times": null has no limit.
"""
