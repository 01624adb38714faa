#!/bin/sh
# work.sh ACCOUNT STEPS TIERS: in a clean room, as its first process, do what a newcomer does.
# Writes one line a step into /room/results: its name, its seconds, passed or FAILED.
set -u
account=$1
steps=$2
tiers=$3
failed=0
echo '127.0.1.1 clean-room' >> /etc/hosts
if [ "$account" = user ]; then
    name=newcomer home=/home/newcomer path=/usr/local/bin:/usr/bin:/bin place=/home/newcomer/antechamber
    useradd --create-home --shell /bin/bash "$name"
    cp -r /room/home/. "$home"
    chown -R "$name:" "$home"
    chmod 755 "$home"
    echo "$name:100000:65536" | tee /etc/subuid > /etc/subgid
    echo "$name ALL=(ALL) NOPASSWD: ALL" > "/etc/sudoers.d/$name"
    become="setpriv --reuid=$name --regid=$name --init-groups"
else
    # not in /root, which other accounts cannot enter: some tests start ordinary accounts of their own
    name=root home=/root path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin place=/srv/antechamber
    become=
fi
cd "$home" || exit 1

# run a command as the account, with what a login gives and what its package clients are told
as() {
    eval "set -- env -i HOME=$home USER=$name LOGNAME=$name SHELL=/bin/bash PATH=$path LANG=C.UTF-8 \
        $(cat /room/environment) \"\$@\""
    # shellcheck disable=SC2086 # the words that become the account
    limited $become "$@"
}
# the same where there is no network but this computer's own
alone() {
    eval "set -- env -i HOME=$home USER=$name LOGNAME=$name SHELL=/bin/bash PATH=$path LANG=C.UTF-8 \"\$@\""
    # shellcheck disable=SC2086,SC2016 # as above; the inner shell expands its own words
    limited unshare --net sh -c 'ip link set lo up && exec "$@"' sh $become "$@"
}

RESULTS=/room/results
. /room/step.sh
# several times what each takes on two cores: what takes longer hangs
limit_of() {
    case $1 in
        clone) echo 120 ;;
        test) echo 3600 ;;
        *) echo 900 ;;
    esac
}
do_test() { as make test TIERS="$tiers"; }
do_setup() { as make setup; }
do_run() { alone python3 scripts/clean_room/second_run.py; }
do_demo() { alone .venv/bin/antechamber demo --headless; }
# what docs/how-to/install.md says of a wheel alone, far from the checkout
do_wheel() {
    as make wheel VENV="$([ -d .venv-wheel ] && echo .venv-wheel || echo .venv)" EDITABLE= &&
        as python3 -m venv /tmp/empty &&
        as /tmp/empty/bin/pip install --quiet --disable-pip-version-check "$PWD"/dist/antechamber-*.whl &&
        (cd / && as /tmp/empty/bin/antechamber providers install && alone /tmp/empty/bin/antechamber doctor &&
            alone /tmp/empty/bin/antechamber demo --headless codex)
}

install -d -o "$name" "$(dirname "$place")" 2> /dev/null
step clone "$(limit_of clone)" as git clone --quiet /room/repository.bundle "$place"
cd "$place" || exit 1
for one in $steps; do
    step "$one" "$(limit_of "$one")" "do_$one"
    # the others would only fail for the same reason, and slowly
    case "$one $verdict" in 'setup FAILED'*) break ;; esac
done
exit "$failed"
