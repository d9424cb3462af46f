import time

from fake_engine import Script, build, die

time.sleep(build().asked_for)
if build().broken:
    die(Script(), build().broken)
environment_variables = build().variables
