# What the gateway, bulk synthesis and the studio need beyond the image's packages; sourced. Arguments: requirement files.
install() {
  local stamp file="$root/.venv/$(basename "$1").stamp"
  stamp=$(cat "$root/requirements.txt" "$@" | cksum)
  if [ "$(cat "$file" 2>/dev/null)" != "$stamp" ]; then
    echo "installing $(basename "$1") (a minute the first time)" >&2
    local wanted=()
    for name in "$@"; do wanted+=(-r "$name"); done
    "$root/.venv/bin/python" -m pip --disable-pip-version-check -q install "${wanted[@]}" >&2
    echo "$stamp" > "$file"
  fi
}
