#!/bin/sh
# The job of hello.yml: greets, and tells what the preprocessing module recorded, if it ran.
echo "$GREETING"
echo "I ran on $(uname -n) in $(pwd)."
if [ -e provenance.txt ]; then
  echo
  cat provenance.txt
fi
