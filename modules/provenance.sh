#!/bin/sh
# Records where a job comes from: who, when, on which machine, from which revision of its sources, with which files and input.
#
# A module of any stage, best in preprocessing: the record goes to provenance.txt in the job's folder, which JOBFERRY_WORK names (else
# the current one); declare it as output to get it back. The input passes through unchanged.
# kwargs are not read. POSIX shell; git and sha256sum are used where they are.
set -eu
work=${JOBFERRY_WORK:-.}
record=$work/provenance.txt
input=$(mktemp)
trap 'rm -f "$input"' EXIT
cat > "$input"

line() {
  printf '%-12s %s\n' "$1" "$2"
}

{
  line job "${JOBFERRY_UUID:--}"
  line stage "${JOBFERRY_STAGE:--}"
  line recorded "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
  line user "$(id -un 2> /dev/null || id -u)"
  line host "$(uname -n)"
  line system "$(uname -srm)"
  if [ -e "$work/.git" ] && command -v git > /dev/null && revision=$(git -C "$work" rev-parse HEAD 2> /dev/null); then
    line revision "$revision"
    line remote "$(git -C "$work" config --get remote.origin.url | sed 's|//[^/@]*@|//|' || :)"
    [ -z "$(git -C "$work" status --porcelain --untracked-files=no 2> /dev/null)" ] || line changed "yes, against that revision"
  fi
  if command -v sha256sum > /dev/null; then
    line input "sha256 $(sha256sum < "$input" | cut -c 1-64)"
    cd "$work"
    # Files up to 100 MiB: larger ones would keep the login node busy.
    find . -name .git -prune -o -type f -size -204800 ! -name provenance.txt ! -name '.provenance.*' -exec sha256sum {} + | sort -k 2 | head -n 1000
  fi
} > "$work/.provenance.$$"
mv -f "$work/.provenance.$$" "$record"
echo "provenance: recorded in $record" >&2
cat "$input"
