# Read by work.sh, which says the account; RESULTS is the file of which each step is a line: name, seconds, verdict.

# run a command, and end it where it takes longer than this step may; 124 is what `timeout` says then
limited() {
    timeout --kill-after=30 "$limit" "$@"
}

# step NAME SECONDS COMMAND …: take a step, each command of which may take that long
step() {
    step=$1
    limit=$2
    shift 2
    printf '\n=== clean room, as %s: %s\n' "$account" "$step"
    begun=$(date +%s)
    "$@"
    case $? in
        0) verdict=passed ;;
        124 | 137) verdict="FAILED: not done in $limit s" failed=1 ;;
        *) verdict=FAILED failed=1 ;;
    esac
    printf '%s\t%s\t%s\n' "$step" "$(($(date +%s) - begun))" "$verdict" >> "$RESULTS"
}
