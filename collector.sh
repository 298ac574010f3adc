#!/bin/sh
# collector.sh - packs what one Kubernetes node with Calico knows about its network into a tarball for lasthop.
#
# It reads and never changes: no module is loaded, no iptables table instantiated, no interface made promiscuous, no name
# resolved. What it takes and how the bundle looks: docs/bundle-format.md. What to type: docs/collecting.md.
# One POSIX sh file (dash, busybox ash, bash, mksh); it can be piped:  ssh NODE 'sh -s -- --stdout' < collector.sh
# SPDX-License-Identifier: Apache-2.0

VERSION=1.0.0
FORMAT=lasthop.bundle/1

set -u
umask 077
unset CDPATH IFS ENV BASH_ENV GREP_OPTIONS LS_COLORS POSIXLY_CORRECT TAR_OPTIONS GZIP
LC_ALL=C
LANG=C
PATH=${PATH:-/usr/bin:/bin}:/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin:/opt/bin:/opt/cni/bin
export LC_ALL LANG PATH
NL='
'
TAB=$(printf '\t')
CR=$(printf '\r')

usage() {
    cat <<'USAGE'
collector.sh [options]                       collect this node
collector.sh cluster --nodes A,B [options]   collect several nodes from here

The question (recorded, and focuses pods, conntrack and captures); type the same on both nodes:
  --pod NS/NAME        the pod that cannot connect (repeatable: more pods to look into)
  --peer IP|NS/NAME    what it cannot reach: a pod, a Service (its local backends are looked into as well), a host
  --port PROTO/N       tcp/443, udp/53, icmp
Packets:
  --capture SECONDS    tcpdump at pod, workload interface, tunnel and uplink; reproduce the problem meanwhile
  --probe              one connection attempt from the pod to the peer, after all state was saved
How much:
  --profile P          quick (< 60 s, < 5 MB), standard (default), deep
  --only ID,...        these ids only (docs/bundle-format.md; * matches)
  --dry-run            print every command, run none
Where to:
  --dir DIR            work and archive directory (default: the first of . /var/tmp /tmp ... with room)
  --stdout             framed stream on stdout instead of an archive (needs no tar)
  --pack-leftover DIR  pack what a killed run left behind
  --quiet              only problems on stderr
cluster:
  --nodes A,B,...      node names (ssh: host names or user@host)
  --via ssh|kubectl    kubectl: through each node's calico-node pod (no pod netns from there)
  --parallel N         nodes at a time (4; with --capture all of them, and their captures end together)
  --node-timeout S     give up on a node after S seconds (profile's budget + 60)

The last line on stdout is the archive's path. Exit: 0 complete, 10 partial (archive written), 11 nothing written,
2 wrong usage, 130/143 interrupted (archive still written).
USAGE
}

# ---------------------------------------------------------------------------------------------------------- options
MODE=node PODS_ASKED='' PEER='' Q_PROTO='' Q_PORT='' CAPTURE=0 PROBE=no PROFILE=standard ONLY='' DRY=no DIR=''
STDOUT=no QUIET=no LEFTOVER='' NODES='' VIA=ssh PARALLEL=4 NODE_TIMEOUT=0 NODE_NAME='' CMD_TIMEOUT=0 CAPTURE_AFTER=0 ARGS_SHOWN=''

die_usage() {
    printf 'collector.sh: %s (--help shows the options)\n' "$1" >&2
    exit 2
}
is_number() { case $1 in '' | *[!0-9]*) return 1 ;; esac }
is_pod() { case $1 in *[!a-z0-9./-]* | */*/* | /* | */ | -*) return 1 ;; */*) return 0 ;; *) return 1 ;; esac }
is_address() { case $1 in *[!0-9a-fA-F:.]*) return 1 ;; *.*.*.* | *:*:*) return 0 ;; *) return 1 ;; esac }

# quote WORD...: QUOTED = the words as one line that a shell reads back as the same words
quote() {
    QUOTED=''
    for q_word; do
        case $q_word in
        '' | *[!A-Za-z0-9_./:=,@%+-]*)
            replace "$q_word" "'" "'\\''"
            q_word="'$REPLACED'"
            ;;
        esac
        QUOTED="$QUOTED${QUOTED:+ }$q_word"
    done
}
# replace TEXT FROM TO: REPLACED = TEXT with every FROM replaced (POSIX sh has no ${x//a/b})
replace() {
    r_rest=$1
    REPLACED=''
    while :; do
        case $r_rest in
        *"$2"*)
            REPLACED=$REPLACED${r_rest%%"$2"*}$3
            r_rest=${r_rest#*"$2"}
            ;;
        *) break ;;
        esac
    done
    REPLACED=$REPLACED$r_rest
}
# escape TEXT: ESCAPED = TEXT as a field of index.tsv or the value of a .meta line
escape() {
    ESCAPED=$1
    case $1 in
    '') ESCAPED=- ;;
    *\\* | *"$TAB"* | *"$NL"* | *"$CR"*)
        replace "$1" \\ \\\\
        replace "$REPLACED" "$TAB" '\t'
        replace "$REPLACED" "$NL" '\n'
        replace "$REPLACED" "$CR" '\r'
        ESCAPED=$REPLACED
        ;;
    esac
}

parse_options() {
    quote "$@"
    ARGS_SHOWN=$QUOTED
    if [ "${1:-}" = cluster ]; then
        MODE=cluster
        shift
    fi
    while [ $# -gt 0 ]; do
        case $1 in
        --*=*)
            po_value=${1#*=}
            po_name=${1%%=*}
            shift
            case $po_name in
            --stdout) set -- "--stdout-$po_value" "$@" ;;
            --quiet | --probe | --dry-run | --help | --version) die_usage "$po_name takes no value" ;;
            *) set -- "$po_name" "$po_value" "$@" ;;
            esac
            ;;
        esac
        case $1 in
        --help | -h)
            usage
            exit 0
            ;;
        --version)
            printf 'lasthop collector %s (%s)\n' "$VERSION" "$FORMAT"
            exit 0
            ;;
        --probe) PROBE=yes ;;
        --dry-run) DRY=yes ;;
        --stdout | --stdout-framed) STDOUT=framed ;;
        --stdout-auto) STDOUT=auto ;;
        --quiet | -q) QUIET=yes ;;
        --pod | --peer | --port | --capture | --profile | --only | --dir | --pack-leftover | --nodes | --via | --parallel | \
            --node-timeout | --node-name | --command-timeout | --capture-after)
            [ $# -ge 2 ] || die_usage "$1 needs a value"
            option_with_value "$1" "$2"
            shift
            ;;
        *) die_usage "unknown option: $1" ;;
        esac
        shift
    done
    if [ "$MODE" = cluster ] && [ -z "$NODES" ]; then die_usage 'cluster needs --nodes A,B'; fi
    if [ "$PROBE" = yes ] && { [ -z "$PODS_ASKED" ] || [ -z "$PEER" ]; }; then
        die_usage '--probe needs --pod and --peer'
    fi
}
option_with_value() {
    case $1 in
    --pod)
        is_pod "$2" || die_usage "--pod wants NAMESPACE/NAME, not $2"
        PODS_ASKED="$PODS_ASKED${PODS_ASKED:+ }$2"
        ;;
    --peer)
        is_pod "$2" || is_address "$2" || die_usage "--peer wants an address or NAMESPACE/NAME, not $2"
        PEER=$2
        ;;
    --port) option_port "$2" ;;
    --capture)
        is_number "$2" || die_usage "--capture wants seconds, not $2"
        CAPTURE=$2
        ;;
    --profile)
        case $2 in quick | standard | deep) PROFILE=$2 ;; *) die_usage "--profile is quick, standard or deep, not $2" ;; esac
        ;;
    --only)
        case $2 in *[!a-zA-Z0-9_,.@*-]* | '') die_usage "--only wants ids separated by commas, not $2" ;; esac
        ONLY=$2
        ;;
    --dir)
        [ -d "$2" ] || die_usage "no such directory: $2"
        DIR=$2
        ;;
    --pack-leftover)
        [ -d "$2" ] || die_usage "no such directory: $2"
        LEFTOVER=$2
        ;;
    --nodes)
        case $2 in '' | *[!A-Za-z0-9_.,@:-]* | -* | *,-*) die_usage "--nodes wants names separated by commas, not $2" ;; esac
        NODES=$2
        ;;
    --via)
        case $2 in ssh | kubectl) VIA=$2 ;; *) die_usage "--via is ssh or kubectl, not $2" ;; esac
        ;;
    --parallel)
        is_number "$2" || die_usage "--parallel wants a number, not $2"
        [ "$2" -gt 0 ] || die_usage "--parallel wants a number, not $2"
        PARALLEL=$2
        ;;
    --node-timeout)
        is_number "$2" || die_usage "--node-timeout wants seconds, not $2"
        NODE_TIMEOUT=$2
        ;;
    --node-name)
        case $2 in '' | *[!A-Za-z0-9_.-]*) die_usage "--node-name: not a node name: $2" ;; esac
        NODE_NAME=$2
        ;;
    --command-timeout)
        is_number "$2" || die_usage "--command-timeout wants seconds, not $2"
        CMD_TIMEOUT=$2
        ;;
    --capture-after)
        is_number "$2" || die_usage "--capture-after wants seconds, not $2"
        CAPTURE_AFTER=$2
        ;;
    esac
}
option_port() {
    case $1 in
    icmp | icmp6) Q_PROTO=$1 ;;
    tcp/* | udp/* | sctp/*)
        Q_PROTO=${1%%/*}
        Q_PORT=${1#*/}
        ;;
    */tcp | */udp | */sctp)
        Q_PROTO=${1#*/}
        Q_PORT=${1%%/*}
        ;;
    *)
        Q_PROTO=tcp
        Q_PORT=$1
        ;;
    esac
    case $Q_PROTO in icmp*) return ;; esac
    if ! is_number "$Q_PORT" || [ ${#Q_PORT} -gt 5 ] || [ "$Q_PORT" -gt 65535 ] || [ "$Q_PORT" -eq 0 ]; then
        die_usage "--port wants PROTO/N with N from 1 to 65535, not $1"
    fi
}

# ------------------------------------------------------------------------------------------------- small primitives
# have NAME: a file on PATH, or a function below that stands in for one
WRAPPED=' '
have() {
    on_path "$1"
    case $FOUND in */*) return 0 ;; esac
    case $WRAPPED in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

# on_path NAME: FOUND = the file that PATH gives for it, else NAME (some busybox shells run their own applet before PATH's tool)
on_path() {
    FOUND=$1
    case $1 in */*) return 0 ;; esac
    op_rest=$PATH:
    while [ -n "$op_rest" ]; do
        op_dir=${op_rest%%:*}
        op_rest=${op_rest#*:}
        if [ -f "$op_dir/$1" ] && [ -x "$op_dir/$1" ]; then
            FOUND=$op_dir/$1
            return 0
        fi
    done
}
# now: NOW = hundredths of a second since the second of uptime U0, without a fork (mksh counts in 32 bits)
T0=0 U0=0
now() {
    read -r n_up _ </proc/uptime || n_up=$U0.00
    NOW=$(((${n_up%.*} - U0) * 100 + 1${n_up#*.} - 100))
}
# epoch_of HUNDREDTHS: EPOCH = UTC epoch with two decimals at that NOW (clock at the start plus uptime since)
epoch_of() {
    e_frac=$(($1 % 100))
    [ "$e_frac" -ge 10 ] || e_frac=0$e_frac
    EPOCH=$((T0 + $1 / 100)).$e_frac
}
# start_clock: T0 and U0, the wall clock and the uptime of one moment, in whole seconds
start_clock() {
    read -r n_up _ </proc/uptime || n_up=0.00
    U0=${n_up%.*}
    T0=$(date +%s)
}
say() {
    [ "$QUIET" = yes ] || printf '%s\n' "$1" >&2
    log "$1"
}
warn() {
    printf '%s\n' "collector.sh: $1" >&2
    log "$1"
}
log() {
    [ -n "${W:-}" ] && [ "$DRY" = no ] && [ -d "$W" ] || return 0
    now
    epoch_of "$NOW"
    { printf '%s %s\n' "$EPOCH" "$1" >>"$W/COLLECTOR.log"; } 2>/dev/null
}
# The calico-node image keeps one multi-call coreutils binary instead of most of its names.
for tool in sleep wc sha256sum sha1sum tail head mkdir rm mv cat ls date df uname id sort readlink; do
    if ! have $tool && have coreutils; then
        eval "$tool() { coreutils --coreutils-prog=$tool \"\$@\"; }"
        WRAPPED="$WRAPPED$tool "
    fi
done
file_size() {
    if have wc; then
        SIZE=$(wc -c <"$1" 2>/dev/null) || SIZE=0
        SIZE=$((${SIZE:-0}))
    else
        SIZE=$(find "$1" -printf %s 2>/dev/null) || SIZE=0
    fi
}
sha_of() {
    SHA=-
    have sha256sum || return 0
    SHA=$(sha256sum <"$1" 2>/dev/null) || SHA=-
    SHA=${SHA%% *}
}
# loaded MODULE...: true when one of these kernel subsystems is there, so that asking it loads nothing. A kernel without
# /proc/modules cannot load any.
loaded() {
    [ -r /proc/modules ] || return 0
    for l_module; do
        [ -d "/sys/module/$l_module" ] && return 0
        case $BUILTIN_MODULES in *"/$l_module.ko"*) return 0 ;; esac
        while read -r l_name _; do
            [ "$l_name" = "$l_module" ] && return 0
        done </proc/modules
    done
    return 1
}
BUILTIN_MODULES=''
load_builtin_list() {
    [ -r /proc/modules ] || return 0
    read -r lb_release </proc/sys/kernel/osrelease || return 0
    [ -r "/lib/modules/$lb_release/modules.builtin" ] || return 0
    while read -r lb_line; do
        case $lb_line in *net/*) BUILTIN_MODULES="$BUILTIN_MODULES /${lb_line##*/}" ;; esac
    done <"/lib/modules/$lb_release/modules.builtin"
    replace "$BUILTIN_MODULES" - _
    BUILTIN_MODULES=$REPLACED
}

# ------------------------------------------------------------------------------------------ one command, one index line
# A watchdog process reads WHO to kill WHEN from one small file that is overwritten in place (a full disk cannot take its
# block away), so that a fast command costs no extra process and no sleep is left behind.
JOB='' STUCK=no CUR_ID='' CUR_REL='' CUR_CMD='' DISK_FULL=no NOT_OK='' COUNT=0
TICK=1

# descendants PID: TREE = PID and all its descendants, by the parents in /proc/*/stat
descendants() {
    TREE=" $1 "
    d_again=yes
    while [ "$d_again" = yes ]; do
        d_again=no
        for d_stat in /proc/[0-9]*/stat; do
            read -r d_line 2>/dev/null <"$d_stat" || continue
            d_pid=${d_line%% *}
            d_line=${d_line##*) }
            d_line=${d_line#* }
            d_ppid=${d_line%% *}
            case $TREE in *" $d_pid "*) continue ;; esac
            case $TREE in
            *" $d_ppid "*)
                TREE="$TREE$d_pid "
                d_again=yes
                ;;
            esac
        done
    done
}
# signal_tree SIGNAL PID LIST: the process group of PID, PID, and the list taken before the first signal
signal_tree() {
    kill -s "$1" -- "-$2" 2>/dev/null
    for s_pid in $3; do kill -s "$1" "$s_pid" 2>/dev/null; done
}
set_job() { { printf '%-12s %-20s\n' "$1" "$2" 1<>"$CTL/job"; } 2>/dev/null; }

watchdog() {
    trap '' INT
    while kill -0 "$MAIN" 2>/dev/null; do
        sleep "$TICK"
        read -r w_pid w_deadline 2>/dev/null <"$CTL/job" || continue
        [ "$w_pid" != 0 ] || continue
        now
        [ "$NOW" -ge "$w_deadline" ] || continue
        descendants "$w_pid"
        signal_tree TERM "$w_pid" "$TREE"
        watchdog_wait "$w_pid" 200 && continue
        descendants "$w_pid"
        signal_tree KILL "$w_pid" "$TREE"
        watchdog_wait "$w_pid" 200 && continue
        # Not even KILL ends it: uninterruptible sleep in the kernel. The main shell leaves it behind.
        kill -s USR1 "$MAIN" 2>/dev/null
        watchdog_wait "$w_pid" 500
    done
    # The main shell was killed: end what it started.
    if read -r w_pid w_deadline 2>/dev/null <"$CTL/job" && [ "$w_pid" != 0 ]; then
        descendants "$w_pid"
        signal_tree KILL "$w_pid" "$TREE"
    fi
    if [ -r "$CTL/captures" ]; then
        while read -r w_pid _; do kill -s TERM "$w_pid" 2>/dev/null; done <"$CTL/captures"
    fi
}
# watchdog_wait PID HUNDREDTHS: true as soon as the main shell has gone on from PID
watchdog_wait() {
    now
    ww_end=$((NOW + $2))
    while [ "$NOW" -lt "$ww_end" ]; do
        read -r ww_pid _ 2>/dev/null <"$CTL/job" || return 1
        [ "$ww_pid" = "$1" ] || return 0
        kill -0 "$MAIN" 2>/dev/null || return 1
        sleep "$TICK"
        now
    done
    return 1
}
# await PID: RC = its exit code; returns early with STUCK=yes when the watchdog gave up
await() {
    STUCK=no
    while :; do
        wait "$1" 2>/dev/null
        RC=$?
        [ "$STUCK" = no ] || return 0
        [ "$RC" -gt 128 ] && kill -0 "$1" 2>/dev/null || return 0
    done
}

# index_line ID STATUS RC START DURATION BYTES SHA PATH COMMAND
index_line() {
    escape "$9"
    { printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$ESCAPED" >>"$IDX"; } 2>/dev/null ||
        disk_full
    COUNT=$((COUNT + 1))
    judge "$1" "$2" "$8"
}
# judge ID STATUS PATH: remembers must-have ids that are not complete
judge() {
    case $1$2 in
    iptables_nft_saveok | iptables_legacy_saveok | iptables_saveok | nft_rulesetok | iptables_nft_saveskipped:no*) FILTER_STATE=seen ;;
    esac
    case $2 in ok | skipped:not-loaded | skipped:no-tables) return 0 ;; esac
    case $3 in
    host/*)
        case $1 in
        ip_link | ip_addr | ip4_route_all | ip4_rule | ip4_neigh | sysctl | clock_start | clock_end) ;;
        ipset_save) [ "$2" != missing ] || [ "$SETS_NAMED" = yes ] || return 0 ;;
        iptables_nft_save | iptables_legacy_save | iptables_save | nft_ruleset)
            case $2 in timeout | truncated | denied | enospc | skipped:enospc | skipped:deadline | skipped:interrupted) ;; *) return 0 ;; esac
            ;;
        *) return 0 ;;
        esac
        ;;
    pods/*)
        [ "$POD_IN_QUESTION" = yes ] || return 0
        case $1 in ip_addr | ip4_route_all | ip4_neigh) ;; *) return 0 ;; esac
        ;;
    *) return 0 ;;
    esac
    NOT_OK="$NOT_OK${NOT_OK:+$NL}$3: $2"
}
SETS_NAMED=no POD_IN_QUESTION=no

wanted() {
    [ -n "$ONLY" ] || return 0
    w_list=$ONLY,
    while [ -n "$w_list" ]; do
        w_item=${w_list%%,*}
        w_list=${w_list#*,}
        # shellcheck disable=SC2254  # the user's * is meant as a pattern
        case $1 in $w_item) return 0 ;; esac
    done
    return 1
}
# skip ID WHY COMMAND: an index line for a command that is not run on purpose
skip() {
    wanted "$1" || return 0
    if [ "$DRY" = yes ]; then return 0; fi
    now
    epoch_of "$NOW"
    case $2 in missing | denied) i_status=$2 ;; *) i_status=skipped:$2 ;; esac
    index_line "$1" "$i_status" - "$EPOCH" 0 - - "$REL$1.out" "$3"
}
# may_run ID COMMAND: false (with its index line) when the disk is full or the budget used up; prints in a dry run
may_run() {
    wanted "$1" || return 1
    if [ "$DRY" = yes ]; then
        printf '%s\t%s\n' "$REL$1" "$2"
        return 1
    fi
    if [ "$DISK_FULL" = yes ]; then
        skip "$1" enospc "$2"
        return 1
    fi
    now
    if [ "$NOW" -ge "$BUDGET_END" ]; then
        skip "$1" deadline "$2"
        return 1
    fi
    return 0
}
# run ID SECONDS COMMAND...: an external command; runf ID SECONDS 'DESCRIPTION' FUNCTION...: a function of this script
run() {
    r_id=$1
    r_time=$2
    shift 2
    quote "$@"
    may_run "$r_id" "$QUOTED" || return 0
    if ! have "$1"; then
        skip "$r_id" missing "$QUOTED"
        return 0
    fi
    start_job "$r_id" "$r_time" "$QUOTED" exec "$@"
}
runf() {
    r_id=$1
    r_time=$2
    r_text=$3
    shift 3
    may_run "$r_id" "$r_text" || return 0
    start_job "$r_id" "$r_time" "$r_text" function "$@"
}
# runtool ID SECONDS TOOL...: as run, with calico-node's own copy of a tool that the host lacks (mount namespace of Felix,
# network of the host)
runtool() {
    rt_id=$1
    rt_time=$2
    shift 2
    if [ "$DRY" = no ] && ! have "$1" && felix_has "$1"; then
        run "$rt_id" "$rt_time" nsenter -t "$FELIX_PID" -m -- "$@"
    else
        run "$rt_id" "$rt_time" "$@"
    fi
}
has_tool() { [ "$DRY" = yes ] || have "$1" || felix_has "$1"; }
FELIX_PID='' FELIX_APART=no
felix_has() {
    [ "$FELIX_APART" = yes ] && have nsenter || return 1
    for fh_dir in usr/sbin sbin usr/bin bin usr/local/sbin usr/local/bin; do
        [ -x "/proc/$FELIX_PID/root/$fh_dir/$1" ] && return 0
    done
    return 1
}
HAVE_SETSID=no SETSID=setsid SH=sh
start_job() {
    CUR_ID=$1 CUR_CMD=$3 CUR_REL=$REL$1.out
    sj_time=$2
    [ "$CMD_TIMEOUT" -eq 0 ] || sj_time=$CMD_TIMEOUT
    sj_out=$OUT/$1.out sj_err=$OUT/$1.err sj_kind=$4
    shift 4
    if [ "$sj_kind" = exec ]; then
        on_path "$1"
        shift
        set -- "$FOUND" "$@"
    fi
    now
    sj_start=$NOW
    sj_deadline=$((NOW + sj_time * 100))
    [ "$sj_deadline" -le "$BUDGET_END" ] || sj_deadline=$BUDGET_END
    if [ "$sj_kind" = exec ] && [ "$HAVE_SETSID" = yes ]; then
        { (ulimit -f "$CAP_BLOCKS"; exec "$SETSID" "$@") </dev/null >"$sj_out" 2>"$sj_err" & } 2>/dev/null
    elif [ "$sj_kind" = exec ]; then
        { (ulimit -f "$CAP_BLOCKS"; exec "$@") </dev/null >"$sj_out" 2>"$sj_err" & } 2>/dev/null
    else
        { (trap - INT TERM USR1; ulimit -f "$CAP_BLOCKS"; "$@") </dev/null >"$sj_out" 2>"$sj_err" & } 2>/dev/null
    fi
    JOB=$!
    set_job "$JOB" "$sj_deadline"
    await "$JOB"
    set_job 0 0
    # What the command left running in its group ends with it.
    [ "$STUCK" = yes ] || kill -s KILL -- "-$JOB" 2>/dev/null
    JOB=''
    now
    finish_job "$CUR_ID" "$sj_out" "$sj_err" "$sj_start" "$NOW" "$sj_deadline" "$RC"
    CUR_ID=''
}
# finish_job ID OUT ERR START END DEADLINE RC
finish_job() {
    fj_rc=$7
    SIZE=0
    [ ! -f "$2" ] || file_size "$2"
    status_of "$fj_rc" "$SIZE" "$3"
    if [ "$5" -ge "$6" ]; then STATUS=timeout; fi
    [ "$STUCK" = no ] || STATUS=timeout fj_rc=-
    check_disk
    if [ "$DISK_FULL" = yes ] && [ "$STATUS" != ok ]; then STATUS=enospc; fi
    if [ "$DISK_FULL" = yes ] && [ ! -f "$2" ]; then STATUS=enospc; fi
    sha_of "$2"
    epoch_of "$4"
    index_line "$1" "$STATUS" "$fj_rc" "$EPOCH" $((($5 - $4) * 10)) "$SIZE" "$SHA" "$REL$1.out" "$CUR_CMD"
    case $STATUS in ok | rc) ;; *) warn "$REL$1: $STATUS" ;; esac
}
# status_of RC BYTES ERRFILE: STATUS from exit code, size and the first lines of stderr
status_of() {
    STATUS=ok
    if [ "$2" -ge "$CAP_BYTES" ]; then
        STATUS=truncated
        return 0
    fi
    [ "$1" -ne 0 ] || return 0
    STATUS=rc
    [ -s "$3" ] || return 0
    so_lines=0
    while IFS= read -r so_line && [ "$so_lines" -lt 5 ]; do
        so_lines=$((so_lines + 1))
        case $so_line in
        *'ermission denied'* | *'peration not permitted'* | *'must be root'* | *'you need to be root'* | *'must be run as root'*)
            STATUS=denied
            ;;
        *'No space left on device'*) disk_full ;;
        esac
    done <"$3"
}
# check_disk: notices a full disk by writing 16 kB, which a later command could otherwise not
check_disk() {
    [ "$DISK_FULL" = no ] || return 0
    { printf '%16384s' '' >"$CTL/room"; } 2>/dev/null || disk_full
    : >"$CTL/room"
}
disk_full() {
    [ "$DISK_FULL" = no ] || return 0
    DISK_FULL=yes
    # The ballast makes room for the rest of the index and the archive's last files.
    { : >"$CTL/ballast"; } 2>/dev/null
    printf 'collector.sh: the disk is full: %s\n' "$BASE" >&2
}

# ----------------------------------------------------------------------------------------------- inside a netns
# Runs in one process per netns (nsenter ... sh -c): all commands of a pod, one line per command in .index. Arguments: directory,
# epoch and uptime at the start of the run, how many commands to skip, then triples: id, guard, command line.
# shellcheck disable=SC2016  # this is the text of a script: nothing is to expand here (tests lint the text by itself)
IN_NETNS='
set -u -f
cd "$1" || exit 97
T0=$2 U0=$3 SKIP=$4
shift 4
now() {
    read -r up _ </proc/uptime
    NOW=$(((${up%.*} - U0) * 100 + 1${up#*.} - 100))
}
line() {
    frac=$(($4 % 100))
    [ "$frac" -ge 10 ] || frac=0$frac
    printf "%s\t%s\t%s\t%s\t%s\t%s\n" "$1" "$2" "$3" "$((T0 + $4 / 100)).$frac" "$5" "$6" >>.index
}
# values FILE...: "key = value" of each; the key as sysctl(8) writes it: a dot inside a name (eth0.100) becomes a slash. The
# files are read by grep, in one process: the kernel gives a number only to the first read, and dash reads byte by byte
# ("262144" would become "2").
values() {
    [ $# -gt 0 ] || return 0
    if command -v grep >/dev/null 2>&1; then
        grep -s -H "" "$@"
    else
        for file; do [ -f "$file" ] && value=$(cat "$file" 2>/dev/null) && printf "%s:%s\n" "$file" "$value"; done
    fi | while IFS= read -r text; do
        path=${text%%:*}
        path=${path#/proc/sys/}
        name=
        while :; do
            part=${path%%/*}
            while :; do
                case $part in
                *.*) part=${part%%.*}/${part#*.} ;;
                *) break ;;
                esac
            done
            name=$name$part
            case $path in
            */*) name=$name. path=${path#*/} ;;
            *) break ;;
            esac
        done
        printf "%s = %s\n" "$name" "${text#*:}"
    done
}
sysctls() {
    set --
    for key in ipv4/ip_forward ipv4/ip_local_port_range ipv4/ip_local_reserved_ports ipv4/ip_no_pmtu_disc ipv4/ip_default_ttl \
        ipv4/ip_nonlocal_bind ipv4/ip_forward_use_pmtu ipv4/ip_early_demux ipv4/tcp_mtu_probing ipv4/tcp_base_mss \
        ipv4/tcp_syncookies ipv4/tcp_max_syn_backlog ipv4/tcp_timestamps ipv4/tcp_tw_reuse ipv4/tcp_ecn \
        ipv4/tcp_fwmark_accept ipv4/tcp_abort_on_overflow ipv4/tcp_syn_retries ipv4/tcp_synack_retries ipv4/fwmark_reflect \
        ipv4/fib_multipath_hash_policy ipv4/fib_multipath_use_neigh ipv4/icmp_echo_ignore_all ipv4/icmp_ratelimit \
        ipv4/icmp_ratemask ipv4/icmp_errors_use_inbound_ifaddr ipv4/route/min_pmtu ipv4/route/mtu_expires \
        ipv4/route/max_size ipv4/route/gc_thresh ipv6/bindv6only ipv6/ip_nonlocal_bind ipv6/fib_multipath_hash_policy \
        ipv6/fwmark_reflect ipv6/route/gc_thresh ipv6/route/max_size ipv6/route/mtu_expires ipv6/icmp/echo_ignore_all \
        bridge/bridge-nf-call-iptables bridge/bridge-nf-call-ip6tables bridge/bridge-nf-call-arptables \
        bridge/bridge-nf-filter-vlan-tagged bridge/bridge-nf-pass-vlan-input-dev core/somaxconn core/netdev_max_backlog \
        core/netdev_budget core/netdev_budget_usecs core/rmem_max core/wmem_max core/default_qdisc core/bpf_jit_enable \
        core/devconf_inherit_init_net nf_conntrack_max; do
        set -- "$@" "/proc/sys/net/$key"
    done
    set -- "$@" /proc/sys/kernel/osrelease
    for family in ipv4 ipv6; do
        for key in gc_thresh1 gc_thresh2 gc_thresh3 base_reachable_time_ms retrans_time_ms mcast_solicit ucast_solicit \
            app_solicit gc_stale_time delay_first_probe_time proxy_delay proxy_qlen unres_qlen_bytes locktime; do
            set -- "$@" "/proc/sys/net/$family/neigh/default/$key"
        done
    done
    set +f
    for file in /proc/sys/net/netfilter/nf_*; do
        case $file in */nf_log) ;; *) set -- "$@" "$file" ;; esac
    done
    for dir in /proc/sys/net/ipv4/conf/*; do
        for key in forwarding rp_filter proxy_arp proxy_arp_pvlan arp_ignore arp_announce arp_filter arp_accept \
            accept_local route_localnet src_valid_mark ignore_routes_with_linkdown medium_id accept_source_route \
            accept_redirects send_redirects log_martians disable_policy disable_xfrm bc_forwarding mc_forwarding \
            drop_gratuitous_arp drop_unicast_in_l2_multicast arp_evict_nocarrier; do
            set -- "$@" "$dir/$key"
        done
        if [ $# -gt 500 ]; then
            values "$@"
            set --
        fi
    done
    for dir in /proc/sys/net/ipv6/conf/*; do
        for key in disable_ipv6 forwarding proxy_ndp accept_ra accept_ra_defrtr autoconf mtu hop_limit addr_gen_mode \
            accept_redirects accept_dad dad_transmits ignore_routes_with_linkdown accept_source_route; do
            set -- "$@" "$dir/$key"
        done
        if [ $# -gt 500 ]; then
            values "$@"
            set --
        fi
    done
    values "$@"
}
legacy() {
    [ -e "$1" ] || { why=skipped:not-loaded; return 0; }
    [ -r "$1" ] || { why=denied; return 0; }
    IFS= read -r _ <"$1" || why=skipped:no-tables
}
nft_empty=no
number=0
while [ $# -ge 3 ]; do
    id=$1 guard=$2 cmd=$3
    shift 3
    number=$((number + 1))
    [ "$number" -gt "$SKIP" ] || continue
    now
    start=$NOW
    why=
    case $guard in
    nft) [ "$LH_NFT" = yes ] || why=skipped:not-loaded ;;
    nft-used)
        if [ "$LH_NFT" != yes ]; then why=skipped:not-loaded
        elif [ "$nft_empty" = yes ]; then why=skipped:no-tables; fi ;;
    legacy4) legacy /proc/net/ip_tables_names ;;
    legacy6) legacy /proc/net/ip6_tables_names ;;
    diag) [ "$LH_DIAG" = yes ] || why=skipped:would-load-module ;;
    file) [ -e "${cmd#cat }" ] || why=skipped:no-file ;;
    esac
    case $cmd in
    @*) tool="printf" ;;
    *) tool=${cmd%% *} ;;
    esac
    [ -n "$why" ] || command -v "$tool" >/dev/null 2>&1 || why=missing
    if [ -n "$why" ]; then
        line "$id" "$why" - "$start" 0 "$cmd"
        continue
    fi
    printf "%s %s %s\n" "$number" "$start" "$id" >.now
    case $cmd in
    @sysctl)
        (sysctls) >"$id.out" 2>"$id.err"
        [ -s "$id.out" ]
        ;;
    *) $cmd </dev/null >"$id.out" 2>"$id.err" ;;
    esac
    rc=$?
    now
    status=ok
    [ "$rc" -eq 0 ] || status=rc
    if [ "$id" = nft_ruleset ] && [ "$rc" -eq 0 ] && [ ! -s nft_ruleset.out ]; then nft_empty=yes; fi
    case $cmd in @sysctl) cmd="read /proc/sys by name" ;; esac
    line "$id" "$status" "$rc" "$start" "$(((NOW - start) * 10))" "$cmd"
done
: >.now
'
# batch DIRECTORY SECONDS ENTER... -- ID GUARD COMMAND ...: all these commands in one process; ENTER is the nsenter command or
# nothing. A command that hangs is recorded as timeout and the rest is run in a new process.
batch() {
    b_dir=$1 b_time=$2
    shift 2
    b_enter=''
    while [ "$1" != -- ]; do
        FOUND=$1
        if [ -z "$b_enter" ] && [ "$DRY" = no ]; then on_path "$1"; fi
        b_enter="$b_enter $FOUND"
        shift
    done
    shift
    if [ -n "$ONLY" ]; then
        b_left=$#
        while [ "$b_left" -gt 0 ]; do
            if wanted "$1"; then set -- "$@" "$1" "$2" "$3"; fi
            shift 3
            b_left=$((b_left - 3))
        done
    fi
    [ $# -gt 0 ] || return 0
    if [ "$DRY" = yes ]; then
        while [ $# -gt 0 ]; do
            b_text=$3
            case $b_text in @sysctl) b_text='read /proc/sys by name' ;; esac
            printf '%s\t%s\n' "$REL$1" "${b_enter# }${b_enter:+ }$b_text"
            shift 3
        done
        return 0
    fi
    b_skip=0 b_tries=0
    while [ "$b_tries" -lt 4 ]; do
        b_tries=$((b_tries + 1))
        now
        [ "$NOW" -lt "$BUDGET_END" ] || break
        [ "$DISK_FULL" = no ] || break
        b_deadline=$((NOW + b_time * 100))
        [ "$CMD_TIMEOUT" -eq 0 ] || b_deadline=$((NOW + CMD_TIMEOUT * 100))
        [ "$b_deadline" -le "$BUDGET_END" ] || b_deadline=$BUDGET_END
        : >"$b_dir/.now"
        if [ "$HAVE_SETSID" = yes ]; then b_setsid=$SETSID; else b_setsid=; fi
        CUR_ID=batch CUR_REL=$REL CUR_CMD="${b_enter# } sh -c ..."
        # shellcheck disable=SC2086  # words of commands made here, without blanks or patterns
        {
            (
                ulimit -f "$CAP_BLOCKS"
                exec $b_setsid $b_enter "$SH" -c "$IN_NETNS" in-netns "$b_dir" "$T0" "$U0" "$b_skip" "$@"
            ) </dev/null >"$b_dir/.log" 2>&1 &
        } 2>/dev/null
        JOB=$!
        set_job "$JOB" "$b_deadline"
        await "$JOB"
        set_job 0 0
        [ "$STUCK" = yes ] || kill -s KILL -- "-$JOB" 2>/dev/null
        JOB='' CUR_ID=''
        b_number=0 b_start=0 b_id=
        read -r b_number b_start b_id 2>/dev/null <"$b_dir/.now" || b_number=0
        [ "${b_number:-0}" -gt 0 ] || break
        # The batch ended within a command: that command is lost, the rest is not.
        now
        epoch_of "$b_start"
        if [ "$NOW" -ge "$b_deadline" ]; then b_status=timeout; else b_status=rc; fi
        printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$b_id" "$b_status" "$RC" "$EPOCH" $(((NOW - b_start) * 10)) \
            'killed within the batch' >>"$b_dir/.index"
        warn "$REL$b_id: $b_status"
        b_skip=$b_number
    done
    batch_ingest "$b_dir" "$b_skip" "$b_tries" "$@"
}
# batch_ingest DIRECTORY ...: index lines of a batch, with sizes and checksums taken by one command each
batch_ingest() {
    bi_dir=$1
    shift 3
    if [ ! -s "$bi_dir/.index" ]; then
        bi_why=no-enter
        [ "$DISK_FULL" = no ] || bi_why=enospc
        [ "$NOW" -lt "$BUDGET_END" ] || bi_why=deadline
        while [ $# -ge 3 ]; do
            skip "$1" "$bi_why" "$3"
            shift 3
        done
        rm -f "$bi_dir/.index" "$bi_dir/.now" "$bi_dir/.log"
        return 0
    fi
    (
        cd "$bi_dir" || exit 0
        set --
        while IFS=$TAB read -r bi_id _; do
            [ ! -f "$bi_id.out" ] || set -- "$@" "$bi_id.out"
        done <.index
        : >.sizes
        : >.sums
        if have wc; then wc -c "$@" >.sizes; fi
        if have sha256sum; then sha256sum "$@" >.sums; fi
        set --
        for bi_file in *.err; do [ -s "$bi_file" ] || set -- "$@" "$bi_file"; done
        [ $# -eq 0 ] || rm -f "$@"
    ) 2>/dev/null
    check_disk
    while IFS=$TAB read -r bi_id bi_status bi_rc bi_start bi_ms bi_cmd; do
        bi_size=- bi_sum=-
        if [ -f "$bi_dir/$bi_id.out" ]; then
            read -r bi_size _ <&4 || bi_size=-
            read -r bi_sum _ <&5 || bi_sum=-
        fi
        case $bi_status in
        ok | rc)
            bi_bytes=0
            [ "$bi_size" = - ] || bi_bytes=$bi_size
            status_of "$bi_rc" "$bi_bytes" "$bi_dir/$bi_id.err"
            [ "$STATUS" = ok ] || [ "$DISK_FULL" = no ] || STATUS=enospc
            bi_status=$STATUS
            ;;
        esac
        index_line "$bi_id" "$bi_status" "$bi_rc" "$bi_start" "$bi_ms" "$bi_size" "$bi_sum" "$REL$bi_id.out" "$bi_cmd"
    done <"$bi_dir/.index" 4<"$bi_dir/.sizes" 5<"$bi_dir/.sums"
    rm -f "$bi_dir/.index" "$bi_dir/.now" "$bi_dir/.log" "$bi_dir/.sizes" "$bi_dir/.sums"
}

# ------------------------------------------------------------------------------------------------------ masking
# mask: stdin to stdout without passwords, tokens, keys and the copies of old objects in annotations
mask() {
    sed -E \
        -e 's/("kubectl\.kubernetes\.io\/last-applied-configuration"[[:space:]]*:[[:space:]]*)"([^"\\]|\\.)*"/\1"removed"/g' \
        -e 's/("[A-Za-z0-9_.-]*([Tt]oken|[Pp]assword|[Pp]asswd|[Ss]ecret|-key-data|-certificate-data|etcd_key|etcd_cert|etcd_ca_cert)"[[:space:]]*:[[:space:]]*)"([^"\\]|\\.)*"/\1"removed"/g' \
        -e 's/(\\"[A-Za-z0-9_.-]*([Tt]oken|[Pp]assword|[Pp]asswd|[Ss]ecret|-key-data|-certificate-data|etcd_key|etcd_cert|etcd_ca_cert)\\"[[:space:]]*:[[:space:]]*\\")[^"\]*/\1removed/g' \
        -e 's/((token|password|client-key-data|client-certificate-data):[[:space:]]+)[^\[:space:]"]+/\1removed/g' \
        -e 's/(password[[:space:]]+)"[^"]*"/\1"removed"/g' \
        -e 's/(--?[A-Za-z-]*(token|password|passwd|secret)[A-Za-z-]*[= ])[^ ]+/\1removed/g' \
        -e 's/([A-Za-z_]*(TOKEN|PASSWORD|PASSWD|SECRET)[A-Za-z_]*=)[^ ]+/\1removed/g' \
        -e 's/([Bb]earer )[A-Za-z0-9._~+\/=-]+/\1removed/g' \
        -e 's/(:\/\/)[^\/@: ]+:[^\/@ ]+@/\1removed@/g' \
        -e '/-----BEGIN [A-Z ]*PRIVATE KEY-----/,/-----END [A-Z ]*PRIVATE KEY-----/s/.*/removed/'
}
# masked COMMAND...: the command's stdout through mask, with the command's exit code
masked() {
    { { "$@"; printf '%s\n' "$?" >"$CTL/rc"; } | mask; } || return 1
    read -r m_rc <"$CTL/rc" || m_rc=1
    return "$m_rc"
}
# show_files [-t LINES] FILE...: "==> FILE <==" and the content (or its last lines) of each
show_files() {
    sf_lines=0
    if [ "$1" = -t ]; then
        sf_lines=$2
        shift 2
    fi
    for sf_file; do
        [ -f "$sf_file" ] || continue
        [ -r "$sf_file" ] || continue
        printf '==> %s <==\n' "$sf_file"
        if [ "$sf_lines" -gt 0 ]; then tail -n "$sf_lines" "$sf_file"; else cat "$sf_file"; fi
        printf '\n'
    done
}
files_or_skip() { # ID WHY-NOT-TEXT FILE...: true when one of the files exists
    fs_id=$1 fs_text=$2
    shift 2
    [ "$DRY" = no ] || return 0
    for fs_file; do [ ! -f "$fs_file" ] || return 0; done
    skip "$fs_id" no-file "$fs_text"
    return 1
}

# ---------------------------------------------------------------------------------------------------- the sections
sec_identity() {
    runf clock_start 5 'date +%s; read /proc/uptime' clock
    runf identity 5 'node name from /var/lib/calico/nodename, kubelet and hostname' identity
    run os_release 5 cat /etc/os-release
    run uname 5 uname -a
    run uptime 5 cat /proc/uptime
    run boot_id 5 cat /proc/sys/kernel/random/boot_id
    runf timezone 5 'date "+%Z %z"; cat /etc/timezone' show_timezone
    runf capabilities 5 'Cap lines of /proc/self/status' capabilities
    runf tools 10 'command -v of every tool' tools
}
clock() {
    c_up=''
    read -r c_up _ </proc/uptime
    printf 'epoch=%s\nuptime=%s\n' "$(date +%s)" "$c_up"
}
identity() {
    printf 'hostname=%s\nnode=%s\nnode_name_from=%s\n' "$HOST" "$NODE" "$NODE_FROM"
    [ ! -r /var/lib/calico/nodename ] || printf 'calico_nodename=%s\n' "$(cat /var/lib/calico/nodename)"
    for i_dir in /etc/kubernetes /etc/rancher/k3s /etc/rancher/rke2 /var/lib/rancher/k3s /var/lib/k0s /var/snap/microk8s /etc/origin; do
        [ ! -d "$i_dir" ] || printf 'dir=%s\n' "$i_dir"
    done
}
show_timezone() {
    date '+%Z %z'
    [ ! -r /etc/timezone ] || cat /etc/timezone
}
capabilities() {
    while IFS= read -r c_line; do
        case $c_line in Cap* | Uid* | Seccomp*) printf '%s\n' "$c_line" ;; esac
    done </proc/self/status
}
TOOLS='ip bridge ss tc nstat iptables-nft-save ip6tables-nft-save iptables-legacy-save ip6tables-legacy-save iptables-save
nft ipset conntrack ethtool tcpdump nsenter setsid birdcl birdc wg ipvsadm bpftool calicoctl kubectl crictl journalctl dmesg chronyc
tar gzip sha256sum wc tail sed grep awk'
tools() {
    for t_tool in $TOOLS; do
        if have "$t_tool"; then
            printf '%s\t%s\n' "$t_tool" "$(command -v "$t_tool")"
        elif felix_has "$t_tool"; then
            printf '%s\tcalico-node:%s\n' "$t_tool" "$FELIX_PID"
        else
            printf '%s\tmissing\n' "$t_tool"
        fi
    done
}
tool_versions() {
    for t_pair in 'ip -V' 'iptables-nft-save --version' 'iptables-legacy-save --version' 'nft --version' \
        'conntrack --version' 'tcpdump --version' 'ss -V' 'ethtool --version' 'birdc --version' 'ipset --version'; do
        have "${t_pair%% *}" || continue
        # shellcheck disable=SC2086  # a tool and one option
        printf '%s\t%s\n' "${t_pair%% *}" "$($t_pair 2>&1 | head -n 1)"
    done
}
sec_identity_rest() {
    [ "$PROFILE" = quick ] || runf tool_versions 10 'TOOL --version' tool_versions
    runf dmi 5 'sys_vendor and product_name of /sys/class/dmi/id' dmi
    if [ "$DRY" = yes ] || [ -n "$CHRONY_PID" ]; then run chrony 5 chronyc -n tracking; fi
}
dmi() {
    for d_name in sys_vendor product_name; do
        d_value=''
        [ -r "/sys/class/dmi/id/$d_name" ] && IFS= read -r d_value <"/sys/class/dmi/id/$d_name"
        [ -z "$d_value" ] || printf '%s=%s\n' "$d_name" "$d_value"
    done
    return 0
}

# ip_options: BusyBox's ip refuses -d and -s
IP_DETAILS='-d' IP_STATISTICS='-s'
ip_options() {
    [ "$DRY" = no ] && have ip || return 0
    on_path ip
    case $("$FOUND" -V 2>&1 </dev/null) in *iproute2*) ;; *) IP_DETAILS='' IP_STATISTICS='' ;; esac
}
# The text of ip is for people and old versions, its JSON says what the text hides.
sec_links() {
    if [ "$DRY" = no ] && ! have ip && ! felix_has ip; then
        for sl_id in ip_link ip_addr ip4_route_all ip4_rule ip4_neigh; do skip $sl_id missing ip; done
        run fib_trie 10 cat /proc/net/fib_trie
        run proc_net_route 10 cat /proc/net/route
        run proc_net_arp 10 cat /proc/net/arp
        run proc_net_if_inet6 10 cat /proc/net/if_inet6
        run proc_net_ipv6_route 10 cat /proc/net/ipv6_route
        return 0
    fi
    # shellcheck disable=SC2086  # options or nothing
    {
        runtool ip_link 20 ip $IP_DETAILS $IP_STATISTICS link
        runtool ip_addr 20 ip $IP_DETAILS addr
    }
    runtool ip4_route_all 30 ip -4 route show table all
    runtool ip4_rule 10 ip -4 rule show
    runtool ip4_neigh 20 ip -4 neigh show
    runtool ip6_route_all 30 ip -6 route show table all
    runtool ip6_rule 10 ip -6 rule show
    runtool ip6_neigh 20 ip -6 neigh show
    runtool bridge_fdb 20 bridge fdb show
    runtool ip_link_json 20 ip -d -s -j link
    runtool ip_addr_json 20 ip -d -j addr
    runtool ip4_route_all_json 30 ip -4 -d -j route show table all
    runtool ip6_route_all_json 30 ip -6 -d -j route show table all
    runtool ip4_rule_json 10 ip -4 -j rule show
    runtool ip6_rule_json 10 ip -6 -j rule show
    runtool ip4_neigh_json 20 ip -4 -s -j neigh show
    runtool ip6_neigh_json 20 ip -6 -s -j neigh show
    runtool bridge_fdb_json 20 bridge -j fdb show
    runtool bridge_vlan 10 bridge vlan show
    runtool ip_neigh_proxy 10 ip neigh show proxy
    runtool ip_nexthop 10 ip -d nexthop show
    runtool ip_nexthop_json 10 ip -d -j nexthop show
    runtool ip4_route_cache 10 ip -4 route show cache
    runtool ip6_route_cache 10 ip -6 route show cache
    runf ip_netns 10 'ip netns list-id; names of /run/netns' show_netns
}
show_netns() {
    ! have ip || ip netns list-id
    for sn_file in /run/netns/* /var/run/netns/*; do
        [ -e "$sn_file" ] || continue
        printf 'file %s\n' "$sn_file"
    done
}

# legacy_names FAMILY-PREFIX: LEGACY = yes, or why plain iptables-legacy-save must not be run
legacy_names() {
    LEGACY=yes
    [ "$DRY" = no ] || return 0
    if [ ! -e "/proc/net/$1_tables_names" ]; then
        LEGACY=not-loaded
    elif [ ! -r "/proc/net/$1_tables_names" ]; then
        LEGACY=denied
    else
        IFS= read -r _ <"/proc/net/$1_tables_names" || LEGACY=no-tables
    fi
}
nft_loaded() { [ "$DRY" = yes ] || loaded nf_tables; }
# Asking iptables-legacy for a table by name creates that table for good, so only the plain -save is run, and only where
# a table exists. -t SUFFIX marks the second sample.
sec_filter() {
    sf_suffix=${1:-}
    if nft_loaded; then
        STATUS=''
        runtool "nft_ruleset$sf_suffix" 60 nft -a list ruleset
        # Old iptables-nft creates tables when asked, so it is not asked where nft itself says that there is none.
        if [ "$DRY" = no ] && [ "$STATUS" = ok ] && [ -f "$OUT/nft_ruleset$sf_suffix.out" ] && [ ! -s "$OUT/nft_ruleset$sf_suffix.out" ]; then
            skip "iptables_nft_save$sf_suffix" no-tables 'iptables-nft-save -c'
            skip "ip6tables_nft_save$sf_suffix" no-tables 'ip6tables-nft-save -c'
        elif has_tool iptables-nft-save || ! has_tool iptables-save; then
            runtool "iptables_nft_save$sf_suffix" 90 iptables-nft-save -c
            runtool "ip6tables_nft_save$sf_suffix" 90 ip6tables-nft-save -c
        fi
    else
        skip "nft_ruleset$sf_suffix" not-loaded 'nft -a list ruleset'
        skip "iptables_nft_save$sf_suffix" not-loaded 'iptables-nft-save -c'
        skip "ip6tables_nft_save$sf_suffix" not-loaded 'ip6tables-nft-save -c'
    fi
    legacy_names ip
    if [ "$LEGACY" = yes ]; then
        if has_tool iptables-legacy-save || ! has_tool iptables-save; then
            runtool "iptables_legacy_save$sf_suffix" 90 iptables-legacy-save -c
        fi
    else
        skip "iptables_legacy_save$sf_suffix" "$LEGACY" 'iptables-legacy-save -c'
    fi
    legacy_names ip6
    if [ "$LEGACY" = yes ]; then
        if has_tool ip6tables-legacy-save || ! has_tool ip6tables-save; then
            runtool "ip6tables_legacy_save$sf_suffix" 90 ip6tables-legacy-save -c
        fi
    else
        skip "ip6tables_legacy_save$sf_suffix" "$LEGACY" 'ip6tables-legacy-save -c'
    fi
    # An old host has one tool without a back end in its name: its output's header tells which it is.
    if ! has_tool iptables-nft-save && ! has_tool iptables-legacy-save && has_tool iptables-save; then
        legacy_names ip
        if [ "$LEGACY" = yes ] || nft_loaded; then
            runtool "iptables_save$sf_suffix" 90 iptables-save -c
            runtool "ip6tables_save$sf_suffix" 90 ip6tables-save -c
        fi
    fi
    [ -z "$sf_suffix" ] || return 0
    if [ "$DRY" = no ] && have grep; then
        grep -q -s -e '--match-set' "$OUT/iptables_nft_save.out" "$OUT/iptables_legacy_save.out" "$OUT/iptables_save.out" && SETS_NAMED=yes
    fi
    if [ "$DRY" = no ] && ! loaded ip_set; then
        skip ipset_save not-loaded 'ipset save'
    else
        runtool ipset_save 60 ipset save
    fi
    sf_file=/proc/net/ip_tables_names
    for sf_id in ip_tables_names ip6_tables_names; do
        sf_file=/proc/net/$sf_id
        if [ "$DRY" = no ] && [ ! -e "$sf_file" ]; then skip $sf_id not-loaded "cat $sf_file"; else run $sf_id 5 cat "$sf_file"; fi
    done
    if nft_loaded; then
        if [ "$DRY" = yes ] || loaded nfnetlink_hook; then
            runtool nft_hooks 10 nft list hooks
        else
            skip nft_hooks would-load-module 'nft list hooks'
        fi
        runtool nft_flowtables 10 nft list flowtables
        if [ "$PROFILE" = deep ] || [ "$DRY" = yes ] || { [ -f "$OUT/nft_ruleset.out" ] && nft_is_native; }; then
            runtool nft_ruleset_json 60 nft -j -a list ruleset
        else
            skip nft_ruleset_json profile 'nft -j -a list ruleset'
        fi
    fi
}
nft_is_native() {
    while IFS= read -r nn_line; do
        case $nn_line in 'table ip calico'* | 'table ip kube-proxy'* | 'table inet '*) return 0 ;; esac
    done <"$OUT/nft_ruleset.out"
    return 1
}

sec_sysctl() { host_batch 30 sysctl - @sysctl; }
host_batch() { # SECONDS ID GUARD COMMAND...: a batch in this netns
    hb_time=$1
    shift
    batch "$OUT" "$hb_time" -- "$@"
}

sec_sockets_and_counters() {
    host_batch 60 \
        proc_net_snmp - 'cat /proc/net/snmp' proc_net_netstat - 'cat /proc/net/netstat' \
        proc_net_snmp6 file 'cat /proc/net/snmp6' proc_net_softnet_stat - 'cat /proc/net/softnet_stat' \
        proc_net_dev - 'cat /proc/net/dev' proc_stat_nf_conntrack file 'cat /proc/net/stat/nf_conntrack' \
        conntrack_count file 'cat /proc/sys/net/netfilter/nf_conntrack_count' \
        proc_net_tcp - 'cat /proc/net/tcp' proc_net_tcp6 file 'cat /proc/net/tcp6' \
        proc_net_udp - 'cat /proc/net/udp' proc_net_udp6 file 'cat /proc/net/udp6' \
        ss_listen diag 'ss -lntuep'
    runtool nstat 10 nstat -asz
    runtool tc_qdisc 20 tc -s qdisc show
}
sec_devices() {
    if [ "$DRY" = yes ] || { [ -f "$OUT/tc_qdisc.out" ] && has_tool tc; }; then
        runf tc_filter 20 'tc -s filter show dev IF ingress|egress (every IF with a clsact or ingress qdisc)' tc_filters
    fi
    if [ "$DRY" = yes ]; then
        sd_list=IF
    else
        uplinks
        sd_list="$UPLINKS $TUNNELS $QUESTION_IFS"
    fi
    sd_done=' '
    for sd_if in $sd_list; do
        case $sd_done in *" $sd_if "*) continue ;; esac
        sd_done="$sd_done$sd_if "
        runtool "ethtool_k_$sd_if" 5 ethtool -k "$sd_if"
        runtool "ethtool_i_$sd_if" 5 ethtool -i "$sd_if"
        [ "$PROFILE" = quick ] || runtool "ethtool_s_$sd_if" 5 ethtool -S "$sd_if"
    done
    if [ "$PROFILE" != quick ]; then run bpftool_net 10 bpftool net show; fi
}
tc_filters() {
    while read -r tf_word tf_kind _ tf_dev tf_if _; do
        [ "$tf_word" = qdisc ] || continue
        [ "$tf_dev" = dev ] || continue
        case $tf_kind in clsact | ingress) ;; *) continue ;; esac
        for tf_side in ingress egress; do
            printf '# dev %s %s\n' "$tf_if" "$tf_side"
            tc -s filter show dev "$tf_if" "$tf_side" || :
        done
    done <"$OUT/tc_qdisc.out"
}
# uplinks: UPLINKS = devices that a route with a next hop uses or that hold the default route; TUNNELS = overlay devices
UPLINKS='' TUNNELS='' QUESTION_IFS=''
uplinks() {
    UPLINKS='' TUNNELS=''
    for u_dir in /sys/class/net/*; do
        case ${u_dir##*/} in vxlan* | tunl0 | wireguard* | wg[0-9]* | flannel* | cilium_vxlan | genev* | ip6tnl0) TUNNELS="$TUNNELS ${u_dir##*/}" ;; esac
    done
    [ -f "$OUT/ip4_route_all.out" ] || return 0
    u_lines=0
    while IFS= read -r u_line && [ "$u_lines" -lt 20000 ]; do
        u_lines=$((u_lines + 1))
        case $u_line in
        *' via '*' dev '* | 'default '*' dev '*) ;;
        *' dev '*' proto kernel scope link src '*) ;;
        *) continue ;;
        esac
        u_if=${u_line##* dev }
        u_if=${u_if%% *}
        case " $UPLINKS $TUNNELS " in *" $u_if "*) continue ;; esac
        case $u_if in cali* | docker* | cni* | br-* | virbr* | lo | nodelocaldns | kube-ipvs*) continue ;; esac
        UPLINKS="$UPLINKS $u_if"
    done <"$OUT/ip4_route_all.out"
}

# conntrack_askable: the tool talks to a subsystem of its own, which it would load
conntrack_askable() { [ "$DRY" = yes ] || loaded nf_conntrack_netlink; }
# conntrack: asking it must not load anything, and a table of a million entries is not taken whole
sec_conntrack_focus() {
    if [ "$DRY" = no ] && [ ! -e /proc/sys/net/netfilter/nf_conntrack_count ]; then return 0; fi
    conntrack_askable || return 0
    scf_n=0
    scf_list=$QUESTION_ADDRS
    [ "$DRY" = no ] || scf_list=${scf_list:-ADDR}
    for scf_addr in $scf_list; do
        scf_n=$((scf_n + 1))
        scf_family=ipv4
        case $scf_addr in *:*) scf_family=ipv6 ;; esac
        runtool "conntrack_focus_${scf_n}_src${1:-}" 20 conntrack -L -f $scf_family -o extended -s "$scf_addr"
        runtool "conntrack_focus_${scf_n}_dst${1:-}" 20 conntrack -L -f $scf_family -o extended -d "$scf_addr"
        runtool "conntrack_focus_${scf_n}_rsrc${1:-}" 20 conntrack -L -f $scf_family -o extended --reply-src "$scf_addr"
        runtool "conntrack_focus_${scf_n}_rdst${1:-}" 20 conntrack -L -f $scf_family -o extended --reply-dst "$scf_addr"
    done
}
sec_conntrack() {
    if [ "$DRY" = no ] && [ ! -e /proc/sys/net/netfilter/nf_conntrack_count ]; then
        skip "conntrack${1:-}" not-loaded 'conntrack -L -o extended'
        return 0
    fi
    sc_count=0
    [ "$DRY" = yes ] || sc_count=$(cat /proc/sys/net/netfilter/nf_conntrack_count 2>/dev/null) || sc_count=0
    if ! conntrack_askable; then
        skip "conntrack${1:-}" would-load-module 'conntrack -L -o extended'
        run "proc_nf_conntrack${1:-}" 60 cat /proc/net/nf_conntrack
        return 0
    fi
    runtool "conntrack_stats${1:-}" 10 conntrack -S
    if [ "$sc_count" -gt "$CONNTRACK_CAP" ]; then
        skip "conntrack${1:-}" over-cap "conntrack -L -o extended ($sc_count entries)"
        skip "conntrack6${1:-}" over-cap 'conntrack -L -f ipv6 -o extended'
        return 0
    fi
    if [ "$DRY" = no ] && ! has_tool conntrack && [ -r /proc/net/nf_conntrack ]; then
        skip "conntrack${1:-}" missing 'conntrack -L -o extended'
        run "proc_nf_conntrack${1:-}" 60 cat /proc/net/nf_conntrack
        return 0
    fi
    runtool "conntrack${1:-}" 60 conntrack -L -o extended
    [ -n "${1:-}" ] || runtool conntrack6 60 conntrack -L -f ipv6 -o extended
}

# ------------------------------------------------------------------------------------------ BIRD, Calico, processes
BIRD_PIDS='' CHRONY_PID=''
find_processes() {
    FELIX_PID='' BIRD_PIDS='' CHRONY_PID=''
    for fp_dir in /proc/[0-9]*; do
        fp_comm=''
        IFS= read -r fp_comm 2>/dev/null <"$fp_dir/comm" || continue
        fp_pid=${fp_dir#/proc/}
        case $fp_comm in
        calico-node | calico-felix | felix | calico)
            case $fp_comm in
            calico-felix | felix) FELIX_PID=$fp_pid ;;
            *) [ -n "$FELIX_PID" ] || FELIX_PID=$fp_pid ;;
            esac
            ;;
        bird | bird6) BIRD_PIDS="$BIRD_PIDS $fp_pid" ;;
        chronyd) CHRONY_PID=$fp_pid ;;
        esac
    done
    FELIX_APART=no
    if [ -n "$FELIX_PID" ] && have readlink; then
        fp_ours=$(readlink /proc/self/ns/mnt 2>/dev/null)
        fp_theirs=$(readlink "/proc/$FELIX_PID/ns/mnt" 2>/dev/null)
        [ -z "$fp_theirs" ] || [ "$fp_ours" = "$fp_theirs" ] || FELIX_APART=yes
    fi
}
processes() {
    printf 'pid\tppid\tstate\tcomm\tcmdline\n'
    for p_dir in /proc/[0-9]*; do
        p_line=''
        IFS= read -r p_line 2>/dev/null <"$p_dir/stat" || continue
        p_comm=${p_line#*\(}
        p_comm=${p_comm%\)*}
        case $p_comm in
        calico* | felix* | bird* | confd* | kube-proxy* | kubelet* | k3s* | rke2* | containerd | crio | dockerd | firewalld | NetworkManager | \
            systemd-network* | flanneld | cilium* | kube-router* | ufw* | node-cache | coredns | chronyd | systemd-timesyn* | typha* | tcpdump) ;;
        *) continue ;;
        esac
        p_pid=${p_line%% *}
        p_rest=${p_line##*) }
        p_state=${p_rest%% *}
        p_rest=${p_rest#* }
        p_cmd=''
        if [ -r "$p_dir/cmdline" ] && have tr; then p_cmd=$(tr '\000\t\n' '   ' <"$p_dir/cmdline" 2>/dev/null); fi
        printf '%s\t%s\t%s\t%s\t%s\n' "$p_pid" "${p_rest%% *}" "$p_state" "$p_comm" "$p_cmd"
    done
}
sec_bird() {
    for sb_six in '' 6; do
        sb_socket=''
        for sb_path in /var/run/calico /run/calico /run/bird /var/run/bird /var/run /run; do
            if [ -S "$sb_path/bird$sb_six.ctl" ]; then
                sb_socket=$sb_path/bird$sb_six.ctl
                break
            fi
        done
        if [ "$DRY" = no ] && [ -z "$sb_socket" ]; then
            for sb_id in status protocols route interfaces; do skip "bird${sb_six}_$sb_id" no-socket "birdcl show $sb_id"; done
            continue
        fi
        sb_tool=birdcl$sb_six
        for sb_try in "birdcl$sb_six" birdcl "birdc$sb_six" birdc; do
            if [ "$DRY" = yes ] || have "$sb_try" || felix_has "$sb_try"; then
                sb_tool=$sb_try
                break
            fi
        done
        sb_socket=${sb_socket:-/var/run/calico/bird$sb_six.ctl}
        STATUS=''
        runtool "bird${sb_six}_status" 10 "$sb_tool" -r -s "$sb_socket" show status
        if [ "$STATUS" = timeout ]; then
            for sb_id in protocols route interfaces; do skip "bird${sb_six}_$sb_id" no-answer "$sb_tool show $sb_id"; done
            continue
        fi
        runtool "bird${sb_six}_protocols" 15 "$sb_tool" -r -s "$sb_socket" show protocols all
        runtool "bird${sb_six}_route" 30 "$sb_tool" -r -s "$sb_socket" show route all
        runtool "bird${sb_six}_interfaces" 10 "$sb_tool" -r -s "$sb_socket" show interfaces
    done
    if [ "$DRY" = yes ]; then
        runf bird_config_NAME 5 'cat BIRD configuration, passwords masked' :
        return 0
    fi
    [ -n "$BIRD_PIDS" ] && have sed || return 0
    # A node can run a BIRD of its own next to Calico's, and Calico's two share their files.
    sb_seen=' '
    for sb_pid in $BIRD_PIDS; do
        sb_root=/proc/$sb_pid/root
        bird_files bird_config_ "$sb_root/etc/calico/confd/config"/*.cfg
        bird_files bird_config_etc_ "$sb_root/etc/bird"/*.conf "$sb_root/etc/bird.conf"
    done
}
bird_files() { # ID-PREFIX FILE...: the first file of each name
    bf_prefix=$1
    shift
    for bf_file; do
        [ -f "$bf_file" ] || continue
        [ -r "$bf_file" ] || continue
        bf_name=${bf_file##*/}
        bf_name=${bf_name%.*}
        case $bf_name in *[!A-Za-z0-9_-]*) continue ;; esac
        case $sb_seen in *" $bf_prefix$bf_name "*) continue ;; esac
        sb_seen="$sb_seen$bf_prefix$bf_name "
        runf "$bf_prefix$bf_name" 5 "cat ${bf_file#"$sb_root"}" masked cat "$bf_file"
    done
}
sec_calico() {
    if have sed || [ "$DRY" = yes ]; then
        runf processes 15 'pid, parent, state, name and command line of network components' masked processes
    else
        skip processes missing sed
    fi
    if files_or_skip calico_dir 'files of /var/lib/calico' /var/lib/calico/*; then
        runf calico_dir 5 'files of /var/lib/calico' show_files /var/lib/calico/*
    fi
    if [ "$DRY" = yes ] || { [ -n "$FELIX_PID" ] && [ -r "/proc/$FELIX_PID/environ" ] && have tr && have sed; }; then
        runf felix_env 5 'environment of Felix by a list of names' masked felix_env
    fi
    runf cni_dir 5 'ls /etc/cni/net.d /opt/cni/bin' list_names /etc/cni/net.d /opt/cni/bin
    if have sed || [ "$DRY" = yes ]; then
        if files_or_skip cni_conflist '/etc/cni/net.d/*.conflist' /etc/cni/net.d/*.conflist /etc/cni/net.d/*.conf; then
            runf cni_conflist 5 'cat /etc/cni/net.d/*.conflist *.conf, tokens masked' masked show_files /etc/cni/net.d/*.conflist /etc/cni/net.d/*.conf
        fi
        if files_or_skip cni_results '/var/lib/cni/results/*' /var/lib/cni/results/*; then
            runf cni_results 10 'cat /var/lib/cni/results/* without configuration' cni_results
        fi
    fi
    if [ "$DRY" = yes ] || [ -d /sys/module/wireguard ] || [ -d /sys/class/net/wireguard.cali ]; then run wg_show 10 wg show; fi
    if [ "$DRY" = yes ] || [ -e /proc/net/ip_vs ]; then
        run proc_ip_vs 10 cat /proc/net/ip_vs
        run ipvsadm 20 ipvsadm -Sn
    fi
}
felix_env() {
    tr '\000' '\n' <"/proc/$FELIX_PID/environ" |
        sed -n -E '/^[A-Z0-9_]*(PASS|TOKEN|SECRET|KEY|CERT|CRED)/d; /^(FELIX_|CALICO_|IP=|IP6=|IP_AUTO|IP6_AUTO|NODENAME=|CLUSTER_TYPE=|AS=|DATASTORE_TYPE=|NO_DEFAULT_POOLS=|WAIT_FOR_DATASTORE=|KUBERNETES_SERVICE_(HOST|PORT)=|USE_POD_CIDR=|ETCD_ENDPOINTS=)/p'
}
list_names() {
    for ln_dir; do
        for ln_file in "$ln_dir"/* "$ln_dir"/.[!.]*; do [ ! -e "$ln_file" ] || printf '%s\n' "$ln_file"; done
    done
    return 0
}
cni_results() {
    cr_n=0
    for cr_file in /var/lib/cni/results/*; do
        [ -f "$cr_file" ] || continue
        [ "$cr_n" -lt "$PODS_MAX" ] || continue
        cr_n=$((cr_n + 1))
        printf '==> %s <==\n' "$cr_file"
        cat "$cr_file"
        printf '\n'
    done | sed -E -e 's/"config":"[^"]*"/"config":"removed"/g' | mask
}

LOG_LINES=2000
sec_logs() {
    if [ "$DRY" = yes ]; then
        for sl_id in calico_node calico_cni bird confd felix kernel kubelet firewalld networkmanager containerd k3s rke2; do
            runf "log_$sl_id" 20 "last $LOG_LINES lines" :
        done
        return 0
    fi
    have sed && have tail || return 0
    log_files log_calico_node /var/log/pods/*calico-node*/calico-node/*.log
    log_files log_calico_cni /var/log/calico/cni/*.log
    log_files log_felix /var/log/calico/felix*.log /var/log/calico/felix/current
    log_files log_bird /var/log/calico/bird*.log /var/log/calico/bird*/current
    log_files log_confd /var/log/calico/confd*.log /var/log/calico/confd/current
    if have journalctl && [ -d /run/systemd/system ]; then
        runf log_kernel 20 "journalctl -k -n $LOG_LINES" masked journalctl -k --no-pager -o short-iso -n "$LOG_LINES"
        log_unit log_kubelet kubelet
        log_unit log_firewalld firewalld
        log_unit log_networkmanager NetworkManager
        log_unit log_containerd containerd
        log_unit log_k3s 'k3s*'
        log_unit log_rke2 'rke2-*'
    elif have dmesg; then
        runf log_kernel 10 "dmesg | tail -n $LOG_LINES" kernel_tail
    fi
}
log_unit() { runf "$1" 20 "journalctl -u $2 -n $LOG_LINES" masked journalctl -u "$2" --no-pager -o short-iso -n "$LOG_LINES"; }
log_files() {
    lf_id=$1
    shift
    files_or_skip "$lf_id" "$1" "$@" || return 0
    quote "$@"
    runf "$lf_id" 20 "tail -n $LOG_LINES $QUOTED" masked show_files -t "$LOG_LINES" "$@"
}
kernel_tail() { dmesg | tail -n "$LOG_LINES" | mask; }

# ------------------------------------------------------------------------------------------------------------- pods
# PODS: one line per netns: inode TAB nsfile TAB pid TAB namespace TAB name TAB uid TAB container ids TAB found_by
HOST_INODE=''
# netns_list: $CTL/netns = "inode pid" of the first process in every other netns; HOST_INODE
netns_list() {
    : >"$CTL/netns"
    HOST_INODE=''
    nl_seen=' '
    ls -l /proc/[0-9]*/ns/net >"$CTL/ls" 2>/dev/null
    while IFS= read -r nl_line; do
        case $nl_line in *" /proc/$MAIN/ns/net -> net:["*) HOST_INODE=${nl_line##*\[} ;; esac
    done <"$CTL/ls"
    HOST_INODE=${HOST_INODE%\]*}
    while IFS= read -r nl_line; do
        case $nl_line in *' -> net:['*) ;; *) continue ;; esac
        nl_inode=${nl_line##*\[}
        nl_inode=${nl_inode%\]*}
        [ "$nl_inode" != "$HOST_INODE" ] || continue
        case $nl_seen in *" $nl_inode "*) continue ;; esac
        nl_seen="$nl_seen$nl_inode "
        nl_pid=${nl_line%/ns/net -> *}
        nl_pid=${nl_pid##*/}
        printf '%s %s\n' "$nl_inode" "$nl_pid" >>"$CTL/netns"
    done <"$CTL/ls"
    # Names under /run/netns: the inode of the mounted file is the netns.
    for nl_dir in /run/netns /var/run/netns; do
        set -- "$nl_dir"/*
        [ -e "$1" ] || continue
        ls -id "$@" 2>/dev/null
        break
    done >"$CTL/names"
}
# netns_of_path PATH: INODE of a netns given as /run/netns/NAME or /proc/PID/ns/net, or nothing
netns_of_path() {
    INODE=''
    case $1 in
    /proc/*/ns/net)
        np_pid=${1#/proc/}
        np_pid=${np_pid%%/*}
        np_line=$(ls -l "/proc/$np_pid/ns/net" 2>/dev/null) || return 0
        INODE=${np_line##*\[}
        INODE=${INODE%\]*}
        ;;
    *)
        while read -r np_inode np_path; do
            if [ "${np_path##*/}" = "${1##*/}" ]; then
                INODE=$np_inode
                return 0
            fi
        done <"$CTL/names"
        ;;
    esac
}
json_after() { # TEXT KEY-PATTERN: VALUE = the string that follows, else nothing
    VALUE=''
    case $1 in *"$2"*) ;; *) return 0 ;; esac
    VALUE=${1#*"$2"}
    VALUE=${VALUE%%\"*}
}
# pods_from_cni: what libcni remembers of each attachment
pods_from_cni() {
    for pc_file in /var/lib/cni/results/* /var/lib/cni/cache/results/*; do
        [ -f "$pc_file" ] || continue
        [ -r "$pc_file" ] || continue
        pc_text=''
        while IFS= read -r pc_line || [ -n "$pc_line" ]; do pc_text=$pc_text$pc_line; done <"$pc_file"
        case $pc_text in *'" '* | *': "'* | *', "'*)
            replace "$pc_text" ': ' ':'
            replace "$REPLACED" ', ' ','
            pc_text=$REPLACED
            ;;
        esac
        json_after "$pc_text" '"netns":"'
        [ -n "$VALUE" ] || continue
        netns_of_path "$VALUE"
        [ -n "$INODE" ] || continue
        [ "$INODE" != "$HOST_INODE" ] || continue
        pc_path=$VALUE
        json_after "$pc_text" '"K8S_POD_NAMESPACE","'
        pc_ns=$VALUE
        json_after "$pc_text" '"K8S_POD_NAME","'
        pc_name=$VALUE
        is_pod "$pc_ns/$pc_name" || continue
        json_after "$pc_text" '"K8S_POD_UID","'
        pc_uid=$VALUE
        json_after "$pc_text" '"K8S_POD_INFRA_CONTAINER_ID","'
        pod_add "$INODE" "$pc_path" '' "$pc_ns" "$pc_name" "$pc_uid" "$VALUE" cni-cache
    done
}
SEEN_PODS=' '
pod_add() {
    case $SEEN_PODS in *" $1 "*) return 0 ;; esac
    SEEN_PODS="$SEEN_PODS$1 "
    pa_pid=${3:-}
    if [ -z "$pa_pid" ]; then
        while read -r pa_inode pa_first; do
            if [ "$pa_inode" = "$1" ]; then
                pa_pid=$pa_first
                break
            fi
        done <"$CTL/netns"
    fi
    pa_file=$2
    [ -n "$pa_file" ] || pa_file=/proc/$pa_pid/ns/net
    case $pa_file in *[!A-Za-z0-9/._-]*) pa_file=/proc/$pa_pid/ns/net ;; esac
    # No field is empty: a tab is IFS white space, and read would join two of them.
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$pa_file" "${pa_pid:--}" "${4:--}" "${5:--}" "${6:--}" "${7:--}" "$8" >>"$CTL/pods"
}
# pods_from_cgroup: the uid in the cgroup of a netns' first process, its name in /var/log/pods
pods_from_cgroup() {
    while read -r pg_inode pg_pid; do
        case $SEEN_PODS in *" $pg_inode "*) continue ;; esac
        cgroup_uid "$pg_pid"
        [ -n "$POD_UID" ] || continue
        pg_ns='' pg_name=''
        for pg_dir in /var/log/pods/*_*_"$POD_UID"; do
            [ -d "$pg_dir" ] || continue
            pg_dir=${pg_dir##*/}
            pg_ns=${pg_dir%%_*}
            pg_name=${pg_dir#*_}
            pg_name=${pg_name%_*}
        done
        is_pod "$pg_ns/$pg_name" || pg_ns='' pg_name=''
        pod_add "$pg_inode" '' "$pg_pid" "$pg_ns" "$pg_name" "$POD_UID" "$POD_CONTAINER" cgroup
    done <"$CTL/netns"
}
cgroup_uid() { # PID: POD_UID and POD_CONTAINER
    POD_UID='' POD_CONTAINER=''
    [ -r "/proc/$1/cgroup" ] || return 0
    while IFS= read -r cu_line; do
        case $cu_line in *kube*pod*) ;; *) continue ;; esac
        cu_rest=${cu_line##*pod}
        cu_uid=${cu_rest%%[./]*}
        case $cu_uid in *[!0-9a-f_-]* | '') continue ;; esac
        [ ${#cu_uid} -ge 32 ] || continue
        replace "$cu_uid" _ -
        POD_UID=$REPLACED
        cu_rest=${cu_rest##*/}
        cu_rest=${cu_rest%.scope}
        POD_CONTAINER=${cu_rest##*-}
        return 0
    done 2>/dev/null <"/proc/$1/cgroup"
}
# pods_unnamed: every other netns that has an interface besides lo
pods_unnamed() {
    while read -r pu_inode pu_pid; do
        case $SEEN_PODS in *" $pu_inode "*) continue ;; esac
        pu_lines=0
        while read -r pu_if _; do
            case $pu_if in lo: | Inter-\|* | face) ;; *) pu_lines=$((pu_lines + 1)) ;; esac
        done 2>/dev/null <"/proc/$pu_pid/net/dev"
        [ "$pu_lines" -gt 0 ] || continue
        pod_add "$pu_inode" '' "$pu_pid" '' '' '' '' none
    done <"$CTL/netns"
    while read -r pu_inode pu_path; do
        case $SEEN_PODS in *" $pu_inode "*) continue ;; esac
        [ "$pu_inode" != "$HOST_INODE" ] || continue
        pod_add "$pu_inode" "$pu_path" - '' '' '' '' netns-name
    done <"$CTL/names"
}
find_pods() {
    netns_list
    : >"$CTL/pods"
    SEEN_PODS=' '
    pods_from_cni
    pods_from_cgroup
    pods_unnamed
    name_by_interface
    PODS_FOUND=0
    while IFS= read -r _; do PODS_FOUND=$((PODS_FOUND + 1)); done <"$CTL/pods"
}
# name_by_interface: Calico names a host side <prefix><first 11 hex digits of sha1("namespace.name")>; tried for the names in
# /var/log/pods and in the question, when a netns is still without a name
name_by_interface() {
    have sha1sum && have ip && have nsenter || return 0
    nb_need=no
    while IFS=$TAB read -r _ _ _ nb_ns _; do [ "$nb_ns" != - ] || nb_need=yes; done <"$CTL/pods"
    [ "$nb_need" = yes ] || return 0
    nb_names=" $PODS_ASKED "
    if is_pod "$PEER"; then nb_names="$nb_names$PEER "; fi
    nb_n=0
    for nb_dir in /var/log/pods/*_*_*; do
        [ -d "$nb_dir" ] || continue
        [ "$nb_n" -lt 400 ] || continue
        nb_n=$((nb_n + 1))
        nb_dir=${nb_dir##*/}
        nb_pod=${nb_dir%%_*}/
        nb_dir=${nb_dir#*_}
        nb_pod=$nb_pod${nb_dir%_*}
        case $nb_names in *" $nb_pod "*) ;; *) nb_names="$nb_names$nb_pod " ;; esac
    done
    nb_table=''
    for nb_pod in $nb_names; do
        nb_sum=$(printf '%s' "${nb_pod%%/*}.${nb_pod#*/}" | sha1sum)
        nb_sum=${nb_sum%"${nb_sum#???????????}"}
        nb_table="$nb_table $nb_sum=$nb_pod"
    done
    [ -n "$nb_table" ] || return 0
    : >"$CTL/pods.new"
    while IFS=$TAB read -r nb_inode nb_file nb_pid nb_ns nb_name nb_uid nb_cids nb_by; do
        if [ "$nb_ns" = - ]; then
            nb_index=$(nsenter -n"$nb_file" ip -o link 2>/dev/null </dev/null)
            peer_index "$nb_index"
            host_interface "$IF_PEER"
            for nb_pair in $nb_table; do
                case $HOST_IF in
                *"${nb_pair%%=*}")
                    nb_pod=${nb_pair#*=}
                    nb_ns=${nb_pod%%/*} nb_name=${nb_pod#*/} nb_by=interface-hash
                    ;;
                esac
            done
        fi
        printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$nb_inode" "$nb_file" "$nb_pid" "$nb_ns" "$nb_name" "$nb_uid" "$nb_cids" "$nb_by"
    done <"$CTL/pods" >"$CTL/pods.new"
    mv "$CTL/pods.new" "$CTL/pods"
}
# peer_index TEXT: IF_NAME and IF_PEER of the first "N: eth0@if12:" line of ip link
peer_index() {
    IF_NAME='' IF_PEER=''
    pi_rest=$1
    while [ -n "$pi_rest" ]; do
        pi_line=${pi_rest%%"$NL"*}
        case $pi_rest in *"$NL"*) pi_rest=${pi_rest#*"$NL"} ;; *) pi_rest='' ;; esac
        case $pi_line in
        [0-9]*:\ *@if[0-9]*:*)
            pi_line=${pi_line#*: }
            IF_NAME=${pi_line%%@*}
            pi_line=${pi_line#*@if}
            IF_PEER=${pi_line%%:*}
            return 0
            ;;
        esac
    done
}
# host_interface INDEX: HOST_IF = the node's interface with that index
host_interface() {
    HOST_IF=''
    [ -n "$1" ] || return 0
    for hi_file in /sys/class/net/*/ifindex; do
        hi_index=''
        read -r hi_index 2>/dev/null <"$hi_file" || continue
        if [ "$hi_index" = "$1" ]; then
            HOST_IF=${hi_file%/ifindex}
            HOST_IF=${HOST_IF##*/}
            return 0
        fi
    done
}

asked_for() { # NAMESPACE/NAME: in the question? (the pod of the P_ fields: by its netns when it is a backend of the peer)
    case $BACKENDS in *" $P_INODE "*) return 0 ;; esac
    case " $PODS_ASKED $PEER " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}
# Backends of a Service that is the peer, or the pod whose address it is. The first few that run here are pods of the question; more of them are taken as any pod.
# SVC_PODS, SVC_ADDRS: its endpoints' pods and addresses; SVC_IPS: its own addresses; BACKENDS: netns of the pods here
BACKENDS_MAX=4 ENDPOINTS_MAX=1000 SVC_PODS=' ' SVC_ADDRS=' ' SVC_IPS='' SVC_NAMELESS=no BACKENDS=' ' BACKENDS_MORE=' '
find_backends() {
    [ -n "$PEER" ] || return 0
    check_cluster_tools peer
    [ "$KUBECTL_OK" = no ] || backends_by_kubectl
    # Most nodes have no kubectl, but kube-proxy wrote there where each Service goes.
    [ "$SVC_PODS$SVC_ADDRS" != '  ' ] || backends_by_nat
    # No Service: then an address may be a pod's.
    if [ "$SVC_PODS$SVC_ADDRS" = '  ' ] && is_address "$PEER" && routed_here "$PEER"; then SVC_ADDRS=" $PEER "; fi
    [ "$SVC_PODS$SVC_ADDRS" = '  ' ] || backends_here
}
routed_here() { # ADDRESS: false when the routes say that it is not behind an interface of its own
    [ -s "$OUT/ip4_route_all.out" ] && have grep || return 0
    grep -q -s -F -e "$1 dev " "$OUT/ip4_route_all.out" "$OUT/ip6_route_all.out"
}
backends_by_kubectl() {
    bk_services=''
    if is_address "$PEER"; then
        answers kubectl get services -A --request-timeout=5s -o \
            'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {.spec.clusterIP} {.spec.clusterIPs[*]} {.spec.externalIPs[*]} {.status.loadBalancer.ingress[*].ip}{"\n"}{end}' ||
            return 0
        while read -r bk_name bk_ips; do
            case " $bk_ips " in *" $PEER "*) bk_services="$bk_services $bk_name" ;; esac
        done <"$CTL/answer.out"
    else
        bk_services=$PEER
        if answers kubectl get -n "${PEER%%/*}" "service/${PEER#*/}" --request-timeout=5s -o \
            'jsonpath={.spec.clusterIP} {.spec.clusterIPs[*]}{"\n"}'; then
            read -r SVC_IPS <"$CTL/answer.out" || SVC_IPS=''
        fi
    fi
    bk_n=0 bk_asked=0
    for bk_name in $bk_services; do
        # One outside address can be that of many Services.
        bk_asked=$((bk_asked + 1))
        [ "$bk_asked" -le 8 ] || break
        answers kubectl get endpointslices -n "${bk_name%%/*}" -l "kubernetes.io/service-name=${bk_name#*/}" --request-timeout=5s -o \
            'jsonpath={range .items[*].endpoints[*]}{.targetRef.kind}/{.targetRef.namespace}/{.targetRef.name} {.addresses[*]}{"\n"}{end}' ||
            continue
        while read -r bk_ref bk_addrs && [ "$bk_n" -lt "$ENDPOINTS_MAX" ]; do
            bk_n=$((bk_n + 1))
            case $bk_ref in Pod/?*/?*) SVC_PODS="$SVC_PODS${bk_ref#Pod/} " ;; *) SVC_NAMELESS=yes ;; esac
            [ -z "$bk_addrs" ] || SVC_ADDRS="$SVC_ADDRS$bk_addrs "
        done <"$CTL/answer.out"
    done
}
# backends_by_nat: KUBE-SERVICES names the Service by address and in a comment; its chains lead to one KUBE-SEP per endpoint
backends_by_nat() {
    have grep || return 0
    set --
    for bn_id in iptables_nft_save iptables_legacy_save iptables_save ip6tables_nft_save ip6tables_legacy_save ip6tables_save; do
        if [ -s "$OUT/$bn_id.out" ]; then set -- "$@" "$OUT/$bn_id.out"; fi
    done
    [ $# -gt 0 ] || return 0
    if is_address "$PEER"; then
        printf ' -d %s/\n' "$PEER"
    else
        printf '"%s:\n"%s \n' "$PEER" "$PEER"
    fi >"$CTL/words"
    grep -h -F -e '-A KUBE-SERVICES ' "$@" 2>/dev/null | grep -F -f "$CTL/words" >"$CTL/nat" 2>/dev/null
    bn_seen=' ' bn_seps=0 bn_round=0
    while [ -s "$CTL/nat" ] && [ "$bn_round" -lt 5 ]; do
        bn_round=$((bn_round + 1))
        : >"$CTL/words"
        while IFS= read -r bn_line; do
            case $bn_line in
            *' -j KUBE-SVC-'* | *' -j KUBE-SVL-'* | *' -j KUBE-EXT-'* | *' -j KUBE-XLB-'* | *' -j KUBE-FW-'* | *' -j KUBE-SEP-'*) ;;
            *' --to-destination '*)
                bn_line=${bn_line##* --to-destination }
                bn_line=${bn_line%% *}
                case $bn_line in
                \[*) bn_line=${bn_line#\[} bn_line=${bn_line%%\]*} ;;
                *) bn_line=${bn_line%%:*} ;;
                esac
                case $SVC_ADDRS in *" $bn_line "*) ;; *) SVC_ADDRS="$SVC_ADDRS$bn_line " ;; esac
                continue
                ;;
            *) continue ;;
            esac
            case $bn_line in *'-A KUBE-SERVICES'*' -d '*'cluster IP"'*)
                bn_ip=${bn_line##* -d }
                bn_ip=${bn_ip%%[/ ]*}
                is_address "$PEER" || SVC_IPS="$SVC_IPS $bn_ip"
                ;;
            esac
            bn_line=${bn_line##* -j }
            bn_line=${bn_line%% *}
            case $bn_seen in *" $bn_line "*) continue ;; esac
            [ "$bn_seps" -lt "$ENDPOINTS_MAX" ] || continue
            bn_seps=$((bn_seps + 1))
            bn_seen="$bn_seen$bn_line "
            printf '%s\n' "-A $bn_line " >>"$CTL/words"
        done <"$CTL/nat"
        : >"$CTL/nat"
        [ ! -s "$CTL/words" ] || grep -h -F -f "$CTL/words" "$@" >"$CTL/nat" 2>/dev/null
    done
}
# backends_here: which of the netns found are endpoints: by the pod's name, else by the addresses inside
backends_here() {
    bh_enter=no bh_n=0 bh_looked=0
    if have ip && have nsenter && [ "$UID_NOW" = 0 ]; then bh_enter=yes; fi
    on_path nsenter
    bh_nsenter=$FOUND
    now
    bh_end=$((NOW + 500))
    while IFS= read -r bh_line <&3; do
        pod_fields "$bh_line"
        bh_hit=no
        case $SVC_PODS in *" $P_NS/$P_NAME "*) bh_hit=yes ;; esac
        # Where the API named every endpoint's pod, the addresses of pods with another name need no look.
        if [ "$bh_hit$bh_enter" = noyes ] && { [ "$SVC_PODS" = ' ' ] || [ "$SVC_NAMELESS" = yes ] || [ "$P_NS" = - ]; }; then
            now
            if [ "$NOW" -ge "$bh_end" ] || [ "$bh_looked" -ge "$PODS_MAX" ]; then
                say 'not every pod here was looked at for being a backend of the peer'
                bh_enter=no
                continue
            fi
            bh_looked=$((bh_looked + 1))
            "$bh_nsenter" "-n$P_FILE" ip -o addr show </dev/null >"$CTL/addr" 2>/dev/null
            while read -r _ _ bh_word bh_addr _; do
                case $bh_word in inet | inet6) ;; *) continue ;; esac
                case $SVC_ADDRS in *" ${bh_addr%%/*} "*) bh_hit=yes ;; esac
            done <"$CTL/addr"
        fi
        [ "$bh_hit" = yes ] || continue
        bh_n=$((bh_n + 1))
        if [ "$bh_n" -le "$BACKENDS_MAX" ]; then BACKENDS="$BACKENDS$P_INODE "; else BACKENDS_MORE="$BACKENDS_MORE$P_INODE "; fi
    done 3<"$CTL/pods"
    say "pods of $PEER on this node: $bh_n"
}
# pods_wanted: false when --only names nothing that a pod has and no pod is asked for
POD_IDS='ip_link ip_addr ip4_route_all ip4_rule ip4_neigh ip6_route_all ip6_rule ip6_neigh sysctl ss_listen proc_net_snmp
proc_net_netstat proc_net_snmp6 proc_net_dev proc_net_tcp proc_net_tcp6 proc_net_udp proc_net_udp6 ip_tables_names nft_ruleset
iptables_nft_save ip6tables_nft_save iptables_legacy_save ip6tables_legacy_save ip_link_json ip_addr_json ip4_route_all_json
ip4_neigh_json ip4_route_cache tc_qdisc resolv_conf proc_net_route proc_net_arp fib_trie proc_net_if_inet6 proc_net_ipv6_route'
pods_wanted() {
    [ -n "$ONLY" ] && [ -z "$PODS_ASKED$PEER" ] || return 0
    for pw_id in $POD_IDS; do
        if wanted "$pw_id"; then return 0; fi
    done
    return 1
}
PODS_FOUND=0 PODS_DONE=0 QUESTION_ADDRS='' QUESTION_PODS=''
sec_pods() {
    if [ "$DRY" = yes ]; then
        REL=pods/NS_NAME/
        P_PID=PID
        pod_commands /proc/PID/ns/net
        REL=host/
        return 0
    fi
    find_pods
    find_backends
    # The pods of the question first; with --pod nobody else's, but for further backends of the peer.
    : >"$CTL/pods.order"
    while IFS= read -r sp_line; do
        pod_fields "$sp_line"
        if asked_for "$P_NS/$P_NAME"; then printf '%s\n' "$sp_line" >>"$CTL/pods.order"; fi
    done <"$CTL/pods"
    for sp_pass in more rest; do
        while IFS= read -r sp_line; do
            pod_fields "$sp_line"
            case $BACKENDS_MORE in
            *" $P_INODE "*) [ "$sp_pass" = more ] || continue ;;
            *) [ "$sp_pass$PODS_ASKED" = rest ] || continue ;;
            esac
            if ! asked_for "$P_NS/$P_NAME"; then printf '%s\n' "$sp_line" >>"$CTL/pods.order"; fi
        done <"$CTL/pods"
    done
    now
    sp_end=$((NOW + PODS_BUDGET * 100))
    while IFS= read -r sp_line <&3; do
        pod_fields "$sp_line"
        now
        if ! asked_for "$P_NS/$P_NAME"; then
            [ "$PODS_DONE" -lt "$PODS_MAX" ] || continue
            [ "$NOW" -lt "$sp_end" ] || continue
        fi
        one_pod
        PODS_DONE=$((PODS_DONE + 1))
    done 3<"$CTL/pods.order"
    host_network_pods
    for sp_pod in $PODS_ASKED; do
        case "$NL$QUESTION_PODS" in *" $sp_pod "*) ;; *) say "$sp_pod does not run on this node: its state is not here, the node's is" ;; esac
    done
    meta pods_found "$PODS_FOUND"
    meta pods_collected "$PODS_DONE"
    say "pods: $PODS_DONE of $PODS_FOUND network namespaces"
}
pod_fields() {
    pf_rest=$1
    P_INODE=${pf_rest%%"$TAB"*} pf_rest=${pf_rest#*"$TAB"}
    P_FILE=${pf_rest%%"$TAB"*} pf_rest=${pf_rest#*"$TAB"}
    P_PID=${pf_rest%%"$TAB"*} pf_rest=${pf_rest#*"$TAB"}
    P_NS=${pf_rest%%"$TAB"*} pf_rest=${pf_rest#*"$TAB"}
    P_NAME=${pf_rest%%"$TAB"*} pf_rest=${pf_rest#*"$TAB"}
    P_UID=${pf_rest%%"$TAB"*} pf_rest=${pf_rest#*"$TAB"}
    P_CIDS=${pf_rest%%"$TAB"*}
    P_BY=${pf_rest#*"$TAB"}
}
pod_dir() {
    if [ "$P_NS" = - ]; then POD_DIR=_netns-$P_INODE; else POD_DIR=${P_NS}_$P_NAME; fi
    if [ ${#POD_DIR} -gt 200 ]; then POD_DIR=$(printf '%.180s' "$POD_DIR")~$P_INODE; fi
    while [ -e "$ND/pods/$POD_DIR" ]; do POD_DIR=$POD_DIR~$P_INODE; done
}
one_pod() {
    pod_dir
    mkdir -p "$ND/pods/$POD_DIR" 2>/dev/null || {
        disk_full
        return 0
    }
    OUT=$ND/pods/$POD_DIR REL=pods/$POD_DIR/
    POD_IN_QUESTION=no
    if asked_for "$P_NS/$P_NAME"; then POD_IN_QUESTION=yes; fi
    op_entered=nsenter
    if have nsenter && [ "$UID_NOW" = 0 ]; then
        pod_commands "$P_FILE"
        [ -f "$OUT/ip_addr.out" ] || [ -n "$ONLY" ] || ! have ip || op_entered=none
    else
        op_entered=none
    fi
    if [ "$op_entered" = none ] && [ "$P_PID" != - ]; then
        op_entered=proc
        pod_by_proc
    fi
    if [ "$op_entered" != nsenter ] && [ "$P_PID" != - ]; then run resolv_conf 5 cat "/proc/$P_PID/root/etc/resolv.conf"; fi
    pod_meta "$op_entered" >"$OUT/pod.meta" 2>/dev/null || disk_full
    if [ "$POD_IN_QUESTION" = yes ]; then
        QUESTION_PODS="$QUESTION_PODS${QUESTION_PODS:+$NL}$P_FILE $P_NS/$P_NAME $POD_DIR ${IF_NAME:-eth0} ${HOST_IF:--} $P_INODE"
        [ -z "$HOST_IF" ] || QUESTION_IFS="$QUESTION_IFS $HOST_IF"
        [ "$P_NS" = - ] || meta question_local "$P_NS/$P_NAME"
        pod_addresses
    fi
    POD_IN_QUESTION=no
    OUT=$ND/host REL=host/
}
pod_commands() {
    pc_ss='ss -lntue'
    [ "$POD_IN_QUESTION" = no ] && [ "$DRY" = no ] || pc_ss='ss -lntuep'
    pc_enter=$1
    set --
    # JSON only repeats what the text says, with names for some numbers; a node full of pods does without.
    if [ "$POD_IN_QUESTION" = yes ] || [ "$PODS_FOUND" -le 30 ] || [ "$PROFILE" = deep ]; then
        set -- ip_link_json - 'ip -d -s -j link' ip_addr_json - 'ip -d -j addr' \
            ip4_route_all_json - 'ip -4 -d -j route show table all' ip4_neigh_json - 'ip -4 -s -j neigh show'
    fi
    if [ "$P_PID" != - ]; then set -- resolv_conf file "cat /proc/$P_PID/root/etc/resolv.conf" "$@"; fi
    batch "$OUT" 30 nsenter "-n$pc_enter" -- \
        ip_link - "ip${IP_DETAILS:+ -d}${IP_STATISTICS:+ -s} link" ip_addr - "ip${IP_DETAILS:+ -d} addr" \
        ip4_route_all - 'ip -4 route show table all' ip4_rule - 'ip -4 rule show' ip4_neigh - 'ip -4 neigh show' \
        ip6_route_all - 'ip -6 route show table all' ip6_rule - 'ip -6 rule show' ip6_neigh - 'ip -6 neigh show' \
        sysctl - @sysctl \
        ss_listen diag "$pc_ss" \
        proc_net_snmp - 'cat /proc/net/snmp' proc_net_netstat - 'cat /proc/net/netstat' \
        proc_net_snmp6 file 'cat /proc/net/snmp6' proc_net_dev - 'cat /proc/net/dev' \
        proc_net_tcp - 'cat /proc/net/tcp' proc_net_tcp6 file 'cat /proc/net/tcp6' \
        proc_net_udp - 'cat /proc/net/udp' proc_net_udp6 file 'cat /proc/net/udp6' \
        ip_tables_names file 'cat /proc/net/ip_tables_names' \
        nft_ruleset nft 'nft -a list ruleset' \
        iptables_nft_save nft-used 'iptables-nft-save -c' ip6tables_nft_save nft-used 'ip6tables-nft-save -c' \
        iptables_legacy_save legacy4 'iptables-legacy-save -c' ip6tables_legacy_save legacy6 'ip6tables-legacy-save -c' \
        ip4_route_cache - 'ip -4 route show cache' tc_qdisc - 'tc -s qdisc show' \
        "$@"
}
# pod_by_proc: without nsenter or without the right to use it, what /proc/PID/net shows of that netns
pod_by_proc() {
    for pp_pair in proc_net_route=route proc_net_arp=arp fib_trie=fib_trie proc_net_if_inet6=if_inet6 proc_net_ipv6_route=ipv6_route \
        proc_net_dev=dev proc_net_snmp=snmp proc_net_snmp6=snmp6 proc_net_netstat=netstat proc_net_tcp=tcp proc_net_tcp6=tcp6 \
        proc_net_udp=udp proc_net_udp6=udp6 ip_tables_names=ip_tables_names; do
        if [ -e "/proc/$P_PID/net/${pp_pair#*=}" ]; then run "${pp_pair%%=*}" 5 cat "/proc/$P_PID/net/${pp_pair#*=}"; fi
    done
}
pod_meta() {
    IF_NAME='' IF_PEER='' HOST_IF=''
    pm_file=$OUT/ip_link.out
    [ -f "$pm_file" ] || pm_file=$OUT/ip_addr.out
    if [ -f "$pm_file" ]; then
        while IFS= read -r pm_line; do
            case $pm_line in [0-9]*:\ *@if[0-9]*:*)
                peer_index "$pm_line"
                break
                ;;
            esac
        done <"$pm_file"
        host_interface "$IF_PEER"
    fi
    [ "$P_NS" = - ] || printf 'namespace=%s\nname=%s\n' "$P_NS" "$P_NAME"
    [ "$P_UID" = - ] || printf 'uid=%s\n' "$P_UID"
    [ "$P_PID" = - ] || printf 'pid=%s\n' "$P_PID"
    printf 'netns_inode=%s\nnetns_path=%s\n' "$P_INODE" "$P_FILE"
    [ "$P_CIDS" = - ] || printf 'container_ids=%s\n' "$P_CIDS"
    [ -z "$IF_NAME" ] || printf 'pod_interface=%s\n' "$IF_NAME"
    [ -z "$IF_PEER" ] || printf 'host_ifindex=%s\n' "$IF_PEER"
    [ -z "$HOST_IF" ] || printf 'host_interface=%s\n' "$HOST_IF"
    printf 'found_by=%s\nentered_by=%s\nhost_network=no\n' "$P_BY" "$1"
}
# pod_addresses: the pod's own addresses become addresses of the focused queries
pod_addresses() {
    [ -f "$OUT/ip_addr.out" ] || return 0
    while read -r pd_word pd_addr pd_rest; do
        case $pd_word in inet | inet6) ;; *) continue ;; esac
        case $pd_rest in *'scope global'*) ;; *) continue ;; esac
        question_address "${pd_addr%%/*}"
    done <"$OUT/ip_addr.out"
}
question_address() {
    is_address "$1" || return 0
    case " $QUESTION_ADDRS " in *" $1 "*) return 0 ;; esac
    QUESTION_ADDRS="$QUESTION_ADDRS${QUESTION_ADDRS:+ }$1"
    meta question_address "$1"
}
# host_network_pods: a pod of the question that runs in the node's own netns has no folder of commands, but is said to be one
host_network_pods() {
    for hn_pod in $PODS_ASKED $PEER $SVC_PODS; do
        is_pod "$hn_pod" || continue
        P_NS=${hn_pod%%/*} P_NAME=${hn_pod#*/}
        [ ! -d "$ND/pods/${P_NS}_$P_NAME" ] || continue
        for hn_dir in /var/log/pods/"${P_NS}_${P_NAME}_"*; do
            [ -d "$hn_dir" ] || continue
            hn_uid=${hn_dir##*_}
            for hn_proc in /proc/[0-9]*; do
                cgroup_uid "${hn_proc#/proc/}"
                [ "$POD_UID" = "$hn_uid" ] || continue
                netns_of_path "$hn_proc/ns/net"
                [ "${INODE:--}" = "$HOST_INODE" ] || continue 2
                mkdir -p "$ND/pods/${P_NS}_$P_NAME" 2>/dev/null || return 0
                printf 'namespace=%s\nname=%s\nuid=%s\npid=%s\nhost_network=yes\nfound_by=cgroup\n' "$P_NS" "$P_NAME" "$hn_uid" \
                    "${hn_proc#/proc/}" >"$ND/pods/${P_NS}_$P_NAME/pod.meta"
                meta question_local "$hn_pod"
                break
            done
        done
    done
}
# resolve_question: addresses of the peer that the node itself does not know
resolve_question() {
    if [ -n "$PEER" ] && is_address "$PEER"; then question_address "$PEER"; fi
    for rq_addr in $SVC_IPS; do question_address "$rq_addr"; done
    [ "$KUBECTL_OK" = yes ] && [ "$DRY" = no ] || return 0
    for rq_pod in $PODS_ASKED $PEER; do
        is_pod "$rq_pod" || continue
        rq_known=no
        while IFS= read -r rq_line; do case $rq_line in *" $rq_pod "*) rq_known=yes ;; esac; done <<QUESTION
$QUESTION_PODS
QUESTION
        [ "$rq_known" = no ] || continue
        rq_addrs=$(kubectl get pod -n "${rq_pod%%/*}" "${rq_pod#*/}" -o 'jsonpath={.status.podIPs[*].ip}' --request-timeout=5s 2>/dev/null </dev/null)
        for rq_addr in $rq_addrs; do question_address "$rq_addr"; done
    done
}

# --------------------------------------------------------------------------------------------- second sample, probe
sec_second_sample() {
    case $ONLY in '' | *_t2* | *\**) ;; *) return 0 ;; esac
    if [ "$DRY" = no ]; then
        now
        while [ $((NOW - FIRST_SAMPLE)) -lt 300 ] && [ "$NOW" -lt "$BUDGET_END" ]; do
            sleep 1
            now
        done
    fi
    host_batch 60 \
        proc_net_snmp_t2 - 'cat /proc/net/snmp' proc_net_netstat_t2 - 'cat /proc/net/netstat' \
        proc_net_snmp6_t2 file 'cat /proc/net/snmp6' proc_net_softnet_stat_t2 - 'cat /proc/net/softnet_stat' \
        proc_net_dev_t2 - 'cat /proc/net/dev' proc_stat_nf_conntrack_t2 file 'cat /proc/net/stat/nf_conntrack' \
        conntrack_count_t2 file 'cat /proc/sys/net/netfilter/nf_conntrack_count'
    if [ "$DRY" = yes ] || has_tool ip; then
        # shellcheck disable=SC2086  # options or nothing
        runtool ip_link_t2 20 ip $IP_DETAILS $IP_STATISTICS link
        runtool ip4_route_all_t2 30 ip -4 route show table all
        runtool ip4_rule_t2 10 ip -4 rule show
        runtool ip4_neigh_t2 20 ip -4 neigh show
        runtool bridge_fdb_t2 20 bridge fdb show
    fi
    sec_filter _t2
    sec_conntrack_focus _t2
    sec_conntrack _t2
    [ "$DRY" = no ] && [ -n "$QUESTION_PODS" ] || return 0
    while read -r ss_file _ ss_dir _; do
        OUT=$ND/pods/$ss_dir REL=pods/$ss_dir/
        have nsenter || continue
        [ "$UID_NOW" = 0 ] || continue
        batch "$OUT" 20 nsenter "-n$ss_file" -- ip_link_t2 - "ip${IP_DETAILS:+ -d}${IP_STATISTICS:+ -s} link" \
            ip4_neigh_t2 - 'ip -4 neigh show' proc_net_snmp_t2 - 'cat /proc/net/snmp' \
            proc_net_netstat_t2 - 'cat /proc/net/netstat' proc_net_snmp6_t2 file 'cat /proc/net/snmp6' \
            ss_listen_t2 diag 'ss -lntuep'
    done <<QUESTION
$QUESTION_PODS
QUESTION
    OUT=$ND/host REL=host/
}
# sec_probe: one connection attempt, from the netns of the first local pod of --pod, with a tool of the node
sec_probe() {
    [ "$PROBE" = yes ] || return 0
    if [ "$DRY" = yes ]; then
        printf '%s\t%s\n' host/probe "nsenter -n/proc/PID/ns/net (nc -z | bash /dev/tcp | ping) $PEER ${Q_PORT:-}"
        return 0
    fi
    sp_file=''
    while read -r sp_ns sp_pod _; do
        case " $PODS_ASKED " in *" $sp_pod "*) sp_file=$sp_ns && break ;; esac
    done <<QUESTION
$QUESTION_PODS
QUESTION
    sp_target=''
    for sp_addr in $QUESTION_ADDRS; do sp_target=$sp_addr; done
    case "$NL$QUESTION_PODS" in
    *" $PEER "*) ;;
    *) for sp_addr in $SVC_IPS; do is_address "$sp_addr" && sp_target=$sp_addr && break; done ;;
    esac
    if is_address "$PEER"; then sp_target=$PEER; fi
    if [ -z "$sp_file" ]; then
        skip probe no-enter 'no pod of --pod runs here'
        return 0
    fi
    now
    epoch_of "$NOW"
    meta probe_start "$EPOCH"
    say "probe: ${Q_PROTO:-tcp} $sp_target ${Q_PORT:-}"
    runf probe 8 "nsenter -n$sp_file connect ${Q_PROTO:-tcp} $sp_target ${Q_PORT:-}" probe_once "$sp_file" "$sp_target"
}
# shellcheck disable=SC2016  # expanded by the shells that it starts
probe_once() {
    case ${Q_PROTO:-tcp} in
    icmp*) set -- nsenter "-n$1" ping -n -c 1 -W 3 "$2" ;;
    udp)
        if have nc; then
            set -- nsenter "-n$1" sh -c 'printf "\n" | nc -u -w 3 "$1" "$2"' probe "$2" "${Q_PORT:-53}"
        else
            set -- nsenter "-n$1" bash -c 'printf "\n" >"/dev/udp/$1/$2"' probe "$2" "${Q_PORT:-53}"
        fi
        ;;
    *)
        if have nc; then
            set -- nsenter "-n$1" nc -n -z -w 3 "$2" "${Q_PORT:-80}"
        elif have bash; then
            set -- nsenter "-n$1" bash -c 'exec 3<>"/dev/tcp/$1/$2"' probe "$2" "${Q_PORT:-80}"
        else
            printf 'no tool for a connection attempt (nc, bash)\n'
            return 1
        fi
        ;;
    esac
    quote "$@"
    printf 'command=%s\n' "$QUOTED"
    "$@"
    po_rc=$?
    printf 'rc=%s\n' "$po_rc"
    return "$po_rc"
}

# --------------------------------------------------------------------------------------------------------- captures
# A ring of points, all bounded in packets, bytes and time; never promiscuous; headers and a little payload (256 bytes).
SNAPLEN=256 CAPTURING=no
sec_capture() {
    [ "$CAPTURE" -gt 0 ] || {
        sec_probe
        return 0
    }
    [ "$DRY" = yes ] || : >"$CTL/captures"
    capture_filters
    if [ "$DRY" = yes ]; then
        start_capture pod_NS_NAME_eth0 eth0 "$FILTER_POD" NS/NAME /proc/PID/ns/net -
        start_capture WORKLOAD_INTERFACE WORKLOAD_INTERFACE "$FILTER_POD" - - -
        start_capture TUNNEL TUNNEL "$FILTER_POD" - - -
        start_capture UPLINK UPLINK "$FILTER_WIRE" - - -
        printf '%s\t%s\n' host/conntrack_events 'conntrack -E -o timestamp,extended'
        sec_probe
        return 0
    fi
    if ! have tcpdump; then
        warn 'tcpdump is missing: no captures'
        skip pcap missing tcpdump
        sec_probe
        return 0
    fi
    mkdir -p "$ND/pcap" 2>/dev/null || disk_full
    CAPTURING=yes
    now
    epoch_of "$NOW"
    meta capture_start "$EPOCH"
    capture_ring
    if has_tool conntrack && have conntrack && [ -e /proc/sys/net/netfilter/nf_conntrack_count ] && wanted conntrack_events; then
        spawn conntrack_events "$OUT/conntrack_events.out" "$OUT/conntrack_events.err" conntrack -E -o timestamp,extended
    fi
    capture_ready
    now
    # Nodes that are collected together capture from when they are ready, all until the same moment: seconds counted from the
    # start of each collector, for their clocks may differ.
    cp_wait=$((CAPTURE_AFTER - NOW / 100))
    if [ "$cp_wait" -lt 0 ] || [ "$cp_wait" -gt 120 ]; then cp_wait=0; fi
    cp_end=$((NOW + (cp_wait + CAPTURE) * 100))
    BUDGET_END=$((BUDGET_END + (cp_wait + CAPTURE) * 100))
    if [ "$PROBE" = yes ]; then
        sec_probe
    else
        printf 'collector.sh: capturing for %s seconds: reproduce the problem NOW\n' "$CAPTURE" >&2
    fi
    now
    while [ "$NOW" -lt "$cp_end" ]; do
        sleep 1
        now
    done
    stop_captures
}
hex_of() { # IPv4 address: HEX = 0x....
    HEX=''
    case $1 in *:*) return 1 ;; esac
    ho_rest=$1.
    while [ -n "$ho_rest" ]; do
        HEX="$HEX $((${ho_rest%%.*}))"
        ho_rest=${ho_rest#*.}
    done
    # shellcheck disable=SC2086  # four numbers
    HEX=$(printf '0x%02x%02x%02x%02x' $HEX)
}
# capture_filters: FILTER_POD for pod side, workload interface and tunnel; FILTER_WIRE for uplinks, with the inner packet of VXLAN
# and IPIP. By address and not by pair: a pair misses the SYN before DNAT.
capture_filters() {
    cf_hosts='' cf_vxlan='' cf_ipip=''
    for cf_addr in $QUESTION_ADDRS; do
        cf_hosts="$cf_hosts${cf_hosts:+ or }host $cf_addr"
        hex_of "$cf_addr" || continue
        cf_vxlan="$cf_vxlan${cf_vxlan:+ or }udp[42:4]=$HEX or udp[46:4]=$HEX"
        cf_ipip="$cf_ipip${cf_ipip:+ or }ip[32:4]=$HEX or ip[36:4]=$HEX"
    done
    vxlan_port
    if [ -z "$cf_hosts" ]; then
        FILTER_POD='not tcp port 22'
        FILTER_WIRE='not tcp port 22'
        return 0
    fi
    FILTER_POD="$cf_hosts or arp or icmp or icmp6"
    FILTER_WIRE="$FILTER_POD"
    [ -z "$cf_vxlan" ] || FILTER_WIRE="$FILTER_WIRE or (udp port $VXLAN_PORT and ($cf_vxlan)) or (ip proto 4 and ($cf_ipip))"
    [ -z "$WG_PORT" ] || FILTER_WIRE="$FILTER_WIRE or udp port $WG_PORT"
}
vxlan_port() {
    VXLAN_PORT=4789 WG_PORT=''
    [ ! -d /sys/class/net/wireguard.cali ] || WG_PORT=51820
    [ -f "$OUT/ip_link.out" ] || return 0
    while IFS= read -r vp_line; do
        case $vp_line in *' vxlan id '*' dstport '*)
            vp_line=${vp_line#* dstport }
            VXLAN_PORT=${vp_line%% *}
            ;;
        esac
    done <"$OUT/ip_link.out"
    is_number "$VXLAN_PORT" || VXLAN_PORT=4789
}
capture_ring() {
    uplinks
    while read -r cr_file cr_pod cr_dir cr_if cr_host cr_inode; do
        [ -n "$cr_file" ] || continue
        start_capture "pod_${cr_dir}_$cr_if" "$cr_if" "$FILTER_POD" "$cr_pod" "$cr_file" "$cr_inode"
        [ "$cr_host" = - ] || start_capture "$cr_host" "$cr_host" "$FILTER_POD" - - "$HOST_INODE"
    done <<QUESTION
$QUESTION_PODS
QUESTION
    for cr_if in $TUNNELS; do start_capture "$cr_if" "$cr_if" "$FILTER_POD" - - "$HOST_INODE"; done
    for cr_if in $UPLINKS; do start_capture "$cr_if" "$cr_if" "$FILTER_WIRE" - - "$HOST_INODE"; done
}
start_capture() { # NAME INTERFACE FILTER POD|- NSFILE|- INODE|-
    sa_name=$1 sa_if=$2 sa_filter=$3 sa_pod=$4 sa_file=$5 sa_inode=$6
    set -- tcpdump -p -n -U -s "$SNAPLEN" -B 4096 -c "$PCAP_PACKETS" -i "$sa_if" -w - "$sa_filter"
    [ "$sa_file" = - ] || set -- nsenter "-n$sa_file" "$@"
    quote "$@"
    if [ "$DRY" = yes ]; then
        printf '%s\t%s\n' "pcap/$sa_name.pcap" "$QUOTED"
        return 0
    fi
    [ "$DISK_FULL" = no ] || return 0
    now
    epoch_of "$NOW"
    {
        printf 'interface=%s\n' "$sa_if"
        case $sa_pod in
        -) printf 'netns=host\n' ;;
        -/-) printf 'netns=pod\n' ;;
        *) printf 'netns=pod\npod=%s\n' "$sa_pod" ;;
        esac
        [ "$sa_inode" = - ] || printf 'netns_inode=%s\n' "$sa_inode"
        printf 'filter=%s\nsnaplen=%s\nstart=%s\ncommand=%s\n' "$sa_filter" "$SNAPLEN" "$EPOCH" "$QUOTED"
    } >"$ND/pcap/$sa_name.meta"
    spawn "$sa_name" "$ND/pcap/$sa_name.pcap" "$ND/pcap/$sa_name.log" "$@"
}
# spawn NAME OUT ERR COMMAND...: a background job that stop_captures ends
spawn() {
    s_name=$1 s_out=$2 s_err=$3
    shift 3
    s_setsid=''
    [ "$HAVE_SETSID" = no ] || s_setsid=$SETSID
    # shellcheck disable=SC2086  # nothing or one word
    { (ulimit -f "$PCAP_BLOCKS"; exec $s_setsid "$@") </dev/null >"$s_out" 2>"$s_err" & } 2>/dev/null
    now
    printf '%s %s %s\n' "$!" "$s_name" "$NOW" >>"$CTL/captures"
}
# capture_ready: every tcpdump listens, or two seconds have passed
capture_ready() {
    now
    cr_end=$((NOW + 200))
    while [ "$NOW" -lt "$cr_end" ]; do
        cr_all=yes
        for cr_log in "$ND"/pcap/*.log; do [ -s "$cr_log" ] || cr_all=no; done
        [ "$cr_all" = no ] || break
        sleep "$TICK"
        now
    done
}
stop_captures() {
    [ "$CAPTURING" = yes ] || return 0
    CAPTURING=no
    while read -r st_pid st_name st_start; do kill -s TERM "$st_pid" 2>/dev/null; done <"$CTL/captures"
    now
    st_end=$((NOW + 300))
    while [ "$NOW" -lt "$st_end" ]; do
        st_alive=no
        while read -r st_pid st_name st_start; do ! kill -0 "$st_pid" 2>/dev/null || st_alive=yes; done <"$CTL/captures"
        [ "$st_alive" = yes ] || break
        sleep "$TICK"
        now
    done
    while read -r st_pid st_name st_start; do
        kill -s KILL "$st_pid" 2>/dev/null
        wait "$st_pid" 2>/dev/null
        capture_result "$st_name" "$st_start" "$?"
    done <"$CTL/captures"
    : >"$CTL/captures"
    now
    epoch_of "$NOW"
    meta capture_end "$EPOCH"
}
capture_result() { # NAME START RC
    now
    epoch_of "$NOW"
    cr_end=$EPOCH
    if [ "$1" = conntrack_events ]; then
        file_size "$OUT/conntrack_events.out"
        sha_of "$OUT/conntrack_events.out"
        epoch_of "$2"
        cr_status=ok
        [ "$SIZE" -lt "$PCAP_BYTES" ] || cr_status=truncated
        case $3 in 0 | 143) ;; *) cr_status=rc ;; esac
        index_line conntrack_events "$cr_status" "$3" "$EPOCH" $(((NOW - $2) * 10)) "$SIZE" "$SHA" host/conntrack_events.out 'conntrack -E -o timestamp,extended'
        return 0
    fi
    cr_summary='' cr_captured='' cr_received='' cr_kernel='' cr_interface='' cr_link=''
    while IFS= read -r cr_line; do
        case $cr_line in
        *'link-type '*)
            cr_link=${cr_line#*link-type }
            cr_link=${cr_link%% *}
            continue
            ;;
        [0-9]*' packet'*' captured'*) cr_captured=${cr_line%% *} ;;
        [0-9]*' packet'*' received by filter'*) cr_received=${cr_line%% *} ;;
        [0-9]*' packet'*' dropped by kernel'*) cr_kernel=${cr_line%% *} ;;
        [0-9]*' packet'*' dropped by interface'*) cr_interface=${cr_line%% *} ;;
        *) continue ;;
        esac
        cr_summary="$cr_summary${cr_summary:+; }$cr_line"
    done 2>/dev/null <"$ND/pcap/$1.log"
    file_size "$ND/pcap/$1.pcap"
    cr_status=ok
    if [ "$SIZE" -ge "$PCAP_BYTES" ]; then
        cr_status=truncated
    elif [ -z "$cr_captured" ]; then
        status_of 1 0 "$ND/pcap/$1.log"
        cr_status=$STATUS
    fi
    sha_of "$ND/pcap/$1.pcap"
    escape "$cr_summary"
    {
        printf 'end=%s\n' "$cr_end"
        [ -z "$cr_link" ] || printf 'link_type=%s\n' "$cr_link"
        [ -z "$cr_captured" ] || printf 'captured=%s\n' "$cr_captured"
        [ -z "$cr_received" ] || printf 'received=%s\n' "$cr_received"
        [ -z "$cr_kernel" ] || printf 'dropped_kernel=%s\n' "$cr_kernel"
        [ -z "$cr_interface" ] || printf 'dropped_interface=%s\n' "$cr_interface"
        printf 'summary=%s\nstatus=%s\n' "$ESCAPED" "$cr_status"
    } >>"$ND/pcap/$1.meta"
    mv "$ND/pcap/$1.log" "$ND/pcap/$1.err"
    epoch_of "$2"
    index_line "pcap_$1" "$cr_status" "$3" "$EPOCH" $(((NOW - $2) * 10)) "$SIZE" "$SHA" "pcap/$1.pcap" tcpdump
    if [ "$cr_status" != ok ]; then warn "pcap/$1.pcap: $cr_status"; fi
}

# -------------------------------------------------------------------------------------------------- cluster objects
KUBECTL_OK=no CALICOCTL_OK=no TOOLS_CHECKED=no
# answers COMMAND...: true when it ends well within 8 seconds
answers() {
    an_out=$OUT an_idx=$IDX an_rel=$REL an_count=$COUNT an_only=$ONLY
    OUT=$CTL IDX=/dev/null REL=answer/ ONLY='' an_quiet=$QUIET
    start_job answer 8 "$*" exec "$@"
    OUT=$an_out IDX=$an_idx REL=$an_rel COUNT=$an_count ONLY=$an_only QUIET=$an_quiet
    [ "$STATUS" = ok ]
}
# check_cluster_tools [peer]: with --only asked only where cluster objects are wanted, or for what the peer is
check_cluster_tools() {
    case $ONLY${1:-} in '' | *kube_* | *calico_* | *\** | *peer) ;; *) return 0 ;; esac
    [ "$TOOLS_CHECKED" = no ] || return 0
    TOOLS_CHECKED=yes
    if [ "$DRY" = yes ]; then
        KUBECTL_OK=yes CALICOCTL_OK=yes
        return 0
    fi
    [ "$DISK_FULL" = no ] || return 0
    if [ -z "${KUBECONFIG:-}" ] && [ ! -r "${HOME:-/root}/.kube/config" ]; then
        for ck_file in /etc/kubernetes/admin.conf /etc/rancher/k3s/k3s.yaml /etc/rancher/rke2/rke2.yaml /var/lib/k0s/pki/admin.conf; do
            if [ -r "$ck_file" ]; then
                KUBECONFIG=$ck_file
                export KUBECONFIG
                break
            fi
        done
    fi
    # kubectl keeps what it discovers in a cache: in the work directory, not in somebody's home.
    KUBECACHEDIR=$CTL/kube
    export KUBECACHEDIR
    if have kubectl && answers kubectl get nodes -o name --request-timeout=5s; then KUBECTL_OK=yes; fi
    if have calicoctl && answers calicoctl get nodes --allow-version-mismatch; then CALICOCTL_OK=yes; fi
}
CALICO_KINDS='nodes ippools workloadendpoints/n networkpolicies/n globalnetworkpolicies tiers globalnetworksets networksets/n
hostendpoints profiles bgpconfigurations bgppeers bgpfilters felixconfigurations clusterinformations ipreservations
kubecontrollersconfigurations caliconodestatuses stagednetworkpolicies/n stagedglobalnetworkpolicies
stagedkubernetesnetworkpolicies/n'
CALICO_IPAM_KINDS='ipamblocks blockaffinities ipamhandles ipamconfigs'
CALICO_QUICK=' nodes ippools workloadendpoints networkpolicies globalnetworkpolicies tiers bgpconfigurations bgppeers felixconfigurations
ipamblocks blockaffinities clusterinformations hostendpoints globalnetworksets networksets profiles '
sec_cluster() {
    case $ONLY in '' | *kube_* | *calico_* | *\**) ;; *) return 0 ;; esac
    if [ "$DRY" = no ] && ! have kubectl && ! have calicoctl; then return 0; fi
    OUT=$W/cluster IDX=$W/cluster/index.tsv REL=''
    if [ "$DRY" = yes ]; then
        REL=cluster/
    else
        mkdir -p "$OUT" 2>/dev/null || disk_full
        printf '%s\n' "$INDEX_HEADER" 2>/dev/null >"$IDX"
    fi
    for cl_kind in $CALICO_KINDS; do calico_kind "$cl_kind" calicoctl; done
    for cl_kind in $CALICO_IPAM_KINDS; do calico_kind "$cl_kind" kubectl; done
    if [ "$CALICOCTL_OK" = yes ]; then
        run calico_node_status 15 calicoctl node status --allow-version-mismatch
        run calico_ipam_show 20 calicoctl ipam show --show-blocks --allow-version-mismatch
    fi
    if [ "$KUBECTL_OK" = yes ]; then
        sec_kube
    elif have kubectl; then
        skip kube_pods no-answer 'kubectl get pods -A'
        skip kube_services no-answer 'kubectl get services -A'
        skip kube_endpointslices no-answer 'kubectl get endpointslices -A'
    fi
    OUT=$ND/host IDX=$ND/index.tsv REL=host/
}
calico_kind() { # KIND[/n] PREFERRED
    ck_kind=${1%/n}
    ck_all=''
    [ "$1" = "$ck_kind" ] || ck_all=--all-namespaces
    if [ "$PROFILE" = quick ]; then
        case $CALICO_QUICK in *" $ck_kind "* | *" $ck_kind$NL"* | *"$NL$ck_kind "*) ;; *) return 0 ;; esac
    fi
    if [ "$CALICOCTL_OK" = yes ] && { [ "$2" = calicoctl ] || [ "$KUBECTL_OK" = no ]; }; then
        # shellcheck disable=SC2086  # nothing or one option
        masked_run "calico_$ck_kind" 20 calicoctl get "$ck_kind" $ck_all -o json --allow-version-mismatch
    elif [ "$KUBECTL_OK" = yes ]; then
        STATUS=''
        masked_run "calico_$ck_kind" 20 kubectl get "$ck_kind.crd.projectcalico.org" -A -o json --request-timeout=15s
        # Where Calico's API has its own CRDs, or an API server, the group has another name.
        if [ "$STATUS" = rc ]; then
            masked_run "calico_$ck_kind" 20 kubectl get "$ck_kind.projectcalico.org" -A -o json --request-timeout=15s
        fi
    else
        skip "calico_$ck_kind" no-answer "calicoctl get $ck_kind"
    fi
}
masked_run() { # ID SECONDS COMMAND...
    mr_id=$1 mr_time=$2
    shift 2
    if [ "$DRY" = no ] && ! have sed; then
        skip "$mr_id" missing 'sed'
        return 0
    fi
    quote "$@"
    runf "$mr_id" "$mr_time" "$QUOTED" masked "$@"
}
# Templates that let through allowed fields only; the output is a JSON list of the usual shape. %q writes JSON strings for
# what names, labels, addresses and reasons can hold.
# shellcheck disable=SC2016  # text of Go templates: their $ is not the shell's
templates() {
    T_MAP='{{range $k,$v := $m}}{{if $n}},{{end}}{{$n = 1}}{{printf "%q:%q" $k $v}}{{end}}'
    T_META='"metadata":{{"{"}}{{with .metadata.namespace}}"namespace":{{printf "%q" .}},{{end}}{{with .metadata.uid}}"uid":{{printf "%q" .}},{{end}}{{with .metadata.creationTimestamp}}"creationTimestamp":{{printf "%q" .}},{{end}}{{with .metadata.deletionTimestamp}}"deletionTimestamp":{{printf "%q" .}},{{end}}{{$n := 0}}{{with .metadata.labels}}{{$m := .}}"labels":{{"{"}}'$T_MAP'{{"}"}},{{end}}"name":{{printf "%q" .metadata.name}}'
    T_CONDITIONS='{{with .status.conditions}}"conditions":[{{range $i,$c := .}}{{if $i}},{{end}}{"type":{{printf "%q" .type}}{{with .reason}},"reason":{{printf "%q" .}}{{end}}{{with .lastTransitionTime}},"lastTransitionTime":{{printf "%q" .}}{{end}},"status":{{printf "%q" .status}}}{{end}}],{{end}}'
    T_PODS='{"kind":"PodList","apiVersion":"v1","items":[{{range $j,$p := .items}}{{if $j}},{{end}}
{"kind":"Pod","apiVersion":"v1",'$T_META'},"spec":{{"{"}}{{with .spec.nodeName}}"nodeName":{{printf "%q" .}},{{end}}{{with .spec.serviceAccountName}}"serviceAccountName":{{printf "%q" .}},{{end}}{{if .spec.hostNetwork}}"hostNetwork":true,{{end}}"containers":[{{range $i,$c := .spec.containers}}{{if $i}},{{end}}{{"{"}}{{with .image}}"image":{{printf "%q" .}},{{end}}{{with .ports}}"ports":[{{range $l,$o := .}}{{if $l}},{{end}}{{"{"}}{{with .name}}"name":{{printf "%q" .}},{{end}}{{with .hostPort}}"hostPort":{{.}},{{end}}{{with .protocol}}"protocol":{{printf "%q" .}},{{end}}"containerPort":{{.containerPort}}}{{end}}],{{end}}"name":{{printf "%q" .name}}}{{end}}]},"status":{{"{"}}{{with .status.podIP}}"podIP":{{printf "%q" .}},{{end}}{{with .status.podIPs}}"podIPs":[{{range $i,$a := .}}{{if $i}},{{end}}{"ip":{{printf "%q" .ip}}}{{end}}],{{end}}{{with .status.hostIP}}"hostIP":{{printf "%q" .}},{{end}}{{with .status.reason}}"reason":{{printf "%q" .}},{{end}}{{with .status.startTime}}"startTime":{{printf "%q" .}},{{end}}'$T_CONDITIONS'{{with .status.containerStatuses}}"containerStatuses":[{{range $i,$c := .}}{{if $i}},{{end}}{{"{"}}{{with .containerID}}"containerID":{{printf "%q" .}},{{end}}{{with .state.waiting}}"state":{"waiting":{"reason":{{printf "%q" .reason}}}},{{end}}{{with .state.running}}"state":{"running":{"startedAt":{{printf "%q" .startedAt}}}},{{end}}{{with .state.terminated}}"state":{"terminated":{"reason":{{printf "%q" .reason}}}},{{end}}"ready":{{.ready}},"restartCount":{{.restartCount}},"name":{{printf "%q" .name}}}{{end}}],{{end}}"phase":{{printf "%q" .status.phase}}}}{{end}}
]}
'
    T_NODE_ANNOTATIONS=''
    for t_name in IPv4Address IPv6Address IPv4IPIPTunnelAddr IPv4VXLANTunnelAddr IPv6VXLANTunnelAddr VXLANTunnelMACAddr VXLANTunnelMACAddrV6 \
        IPv4WireguardInterfaceAddr IPv6WireguardInterfaceAddr WireguardPublicKey WireguardPublicKeyV6 ASNumber RouteReflectorClusterID; do
        T_NODE_ANNOTATIONS=$T_NODE_ANNOTATIONS'{{with index $a "projectcalico.org/'$t_name'"}}{{if $n}},{{end}}{{$n = 1}}{{printf "%q:%q" "projectcalico.org/'$t_name'" .}}{{end}}'
    done
    T_NODES='{"kind":"NodeList","apiVersion":"v1","items":[{{range $j,$p := .items}}{{if $j}},{{end}}
{"kind":"Node","apiVersion":"v1",'$T_META'{{with .metadata.annotations}}{{$a := .}}{{$n = 0}},"annotations":{{"{"}}'$T_NODE_ANNOTATIONS'{{"}"}}{{end}}},"spec":{{"{"}}{{with .spec.podCIDRs}}"podCIDRs":[{{range $i,$c := .}}{{if $i}},{{end}}{{printf "%q" $c}}{{end}}],{{end}}{{with .spec.taints}}"taints":[{{range $i,$t := .}}{{if $i}},{{end}}{"key":{{printf "%q" .key}},"effect":{{printf "%q" .effect}}}{{end}}],{{end}}{{if .spec.unschedulable}}"unschedulable":true,{{end}}"podCIDR":{{with .spec.podCIDR}}{{printf "%q" .}}{{else}}""{{end}}},"status":{{"{"}}{{with .status.addresses}}"addresses":[{{range $i,$c := .}}{{if $i}},{{end}}{"type":{{printf "%q" .type}},"address":{{printf "%q" .address}}}{{end}}],{{end}}'$T_CONDITIONS'"nodeInfo":{{"{"}}{{with .status.nodeInfo}}"kernelVersion":{{printf "%q" .kernelVersion}},"osImage":{{printf "%q" .osImage}},"containerRuntimeVersion":{{printf "%q" .containerRuntimeVersion}},"kubeProxyVersion":{{printf "%q" .kubeProxyVersion}},"kubeletVersion":{{printf "%q" .kubeletVersion}}{{end}}}}}{{end}}
]}
'
    T_DAEMONSETS='{"kind":"DaemonSetList","apiVersion":"apps/v1","items":[{{range $j,$p := .items}}{{if $j}},{{end}}
{"kind":"DaemonSet","apiVersion":"apps/v1",'$T_META'},"spec":{"template":{"spec":{{"{"}}{{if .spec.template.spec.hostNetwork}}"hostNetwork":true,{{end}}"containers":[{{range $i,$c := .spec.template.spec.containers}}{{if $i}},{{end}}{"image":{{printf "%q" .image}},{{$n = 0}}"env":[{{range .env}}{{if .value}}{{if or (eq .name "IP") (eq .name "IP6") (eq .name "IP_AUTODETECTION_METHOD") (eq .name "IP6_AUTODETECTION_METHOD") (eq .name "CALICO_NETWORKING_BACKEND") (eq .name "CLUSTER_TYPE") (eq .name "CALICO_IPV4POOL_CIDR") (eq .name "CALICO_IPV4POOL_IPIP") (eq .name "CALICO_IPV4POOL_VXLAN") (eq .name "FELIX_IPINIPMTU") (eq .name "FELIX_VXLANMTU") (eq .name "FELIX_IPTABLESBACKEND") (eq .name "FELIX_NFTABLESMODE") (eq .name "FELIX_BPFENABLED") (eq .name "FELIX_INTERFACEPREFIX") (eq .name "FELIX_CHAININSERTMODE") (eq .name "FELIX_DEFAULTENDPOINTTOHOSTACTION") (eq .name "FELIX_IPV6SUPPORT") (eq .name "FELIX_WIREGUARDENABLED") (eq .name "FELIX_LOOSERPF") (eq .name "DATASTORE_TYPE") (eq .name "USE_POD_CIDR")}}{{if $n}},{{end}}{{$n = 1}}{"name":{{printf "%q" .name}},"value":{{printf "%q" .value}}}{{end}}{{end}}{{end}}],"name":{{printf "%q" .name}}}{{end}}]}}},"status":{{"{"}}{{with .status.desiredNumberScheduled}}"desiredNumberScheduled":{{.}},{{end}}"numberReady":{{with .status.numberReady}}{{.}}{{else}}0{{end}}}}{{end}}
]}
'
}
sec_kube() {
    templates
    run kube_pods 30 kubectl get pods -A -o "go-template=$T_PODS" --request-timeout=25s
    run kube_nodes 20 kubectl get nodes -o "go-template=$T_NODES" --request-timeout=15s
    for sk_kind in services endpointslices endpoints networkpolicies namespaces; do
        masked_run "kube_$sk_kind" 20 kubectl get "$sk_kind" -A -o json --request-timeout=15s
    done
    run kube_daemonsets 20 kubectl get daemonsets -A -o "go-template=$T_DAEMONSETS" --request-timeout=15s
    [ "$PROFILE" != quick ] || return 0
    run kube_version 10 kubectl version --request-timeout=5s
    masked_run kube_adminnetworkpolicies 10 kubectl get adminnetworkpolicies.policy.networking.k8s.io -o json --request-timeout=8s
    masked_run kube_baselineadminnetworkpolicies 10 kubectl get baselineadminnetworkpolicies.policy.networking.k8s.io -o json --request-timeout=8s
    masked_run kube_clusternetworkpolicies 10 kubectl get clusternetworkpolicies.policy.networking.k8s.io -o json --request-timeout=8s
    masked_run kube_installations 10 kubectl get installations.operator.tigera.io -o json --request-timeout=8s
    masked_run kube_tigerastatuses 10 kubectl get tigerastatuses.operator.tigera.io -o json --request-timeout=8s
    masked_run kube_configmap_kube_proxy 10 kubectl get configmap kube-proxy -n kube-system -o json --request-timeout=8s
    masked_run kube_configmap_coredns 10 kubectl get configmap coredns -n kube-system -o json --request-timeout=8s
    masked_run kube_configmap_nodelocaldns 10 kubectl get configmap node-local-dns -n kube-system -o json --request-timeout=8s
    masked_run kube_configmap_calico_config 10 kubectl get configmap calico-config -n kube-system -o json --request-timeout=8s
    masked_run kube_clusterroles 15 kubectl get clusterroles calico-node calico-cni-plugin calico-kube-controllers -o json --request-timeout=8s --ignore-not-found
    masked_run kube_events 20 kubectl get events -A -o json --request-timeout=15s
}

# ------------------------------------------------------------------------------------------------------ fingerprint
# sweep: ends what commands left running, found by the token in its environment (children that a setsid-less run could not
# group); SWEPT = their names
SWEPT=''
sweep() {
    have grep || return 0
    SWEPT=$(grep -l -a -e "LASTHOP_TOKEN=$TOKEN" /proc/[0-9]*/environ 2>/dev/null | while read -r sw_file; do
        sw_pid=${sw_file%/environ}
        sw_pid=${sw_pid#/proc/}
        read -r sw_name 2>/dev/null <"/proc/$sw_pid/comm" || continue
        [ "$sw_name" != grep ] || continue
        kill -s KILL "$sw_pid" 2>/dev/null && printf 'left\t%s\n' "$sw_name"
    done)
}
fingerprint() { # FILE
    {
        if [ -r /proc/modules ]; then
            while read -r f_name _; do printf 'module\t%s\n' "$f_name"; done </proc/modules
        fi
        for f_six in ip ip6; do
            [ -r "/proc/net/${f_six}_tables_names" ] || continue
            while read -r f_name; do printf '%s_tables\t%s\n' "$f_six" "$f_name"; done <"/proc/net/${f_six}_tables_names"
        done
        if have nft && loaded nf_tables; then nft list tables 2>/dev/null </dev/null; fi
        # The file and not the name: some shells run an applet of theirs instead.
        ip_options
        if have ip; then
            "$FOUND" ${IP_DETAILS:+"$IP_DETAILS"} -o link 2>/dev/null </dev/null | while IFS= read -r f_line; do
                f_flags=-
                case $f_line in *PROMISC*) f_flags=PROMISC ;; esac
                f_count=-
                case $f_line in *' promiscuity '*)
                    f_count=${f_line#* promiscuity }
                    f_count=${f_count%% *}
                    ;;
                esac
                f_line=${f_line#*: }
                printf 'link\t%s %s %s\n' "${f_line%%:*}" "$f_flags" "$f_count"
            done
        fi
        for f_file in /proc/net/tcp /proc/net/tcp6; do
            [ -r "$f_file" ] || continue
            while read -r _ f_local _ f_state _; do
                [ "$f_state" != 0A ] || printf 'listen\t%s\n' "$f_local"
            done <"$f_file"
        done
        # shellcheck disable=SC2012  # one process for all links; their names hold digits only
        ls -l /proc/[0-9]*/ns/net 2>/dev/null | while IFS= read -r f_line; do
            case $f_line in *'net:['*) printf 'netns\t%s\n' "${f_line##*-> }" ;; esac
        done
    } 2>/dev/null | sort -u >"$1" 2>/dev/null
}

# ------------------------------------------------------------------------------------------- work directory, packing
INDEX_HEADER="id${TAB}status${TAB}rc${TAB}start${TAB}duration_ms${TAB}bytes${TAB}sha256${TAB}path${TAB}command"
W='' ND='' OUT='' IDX='' REL=host/ CTL='' BASE='' NAME='' LOCK='' WATCHDOG='' FINISHED=no

meta() { # KEY VALUE: a line of node.meta
    [ "$DRY" = no ] || return 0
    escape "$2"
    { printf '%s=%s\n' "$1" "$ESCAPED" >>"$ND/node.meta"; } 2>/dev/null || disk_full
}
free_kb() { # DIRECTORY: FREE = kB free, FS = file system
    FREE=1048576 FS=''
    have df || return 0
    fk_text=$(df -kP "$1" 2>/dev/null) || return 0
    fk_text=${fk_text#*"$NL"}
    # shellcheck disable=SC2086  # the fields of one line of df
    set -- $fk_text
    FS=${1:-}
    if is_number "${4:-}"; then FREE=$4; fi
    # mksh counts in 32 bits.
    if [ ${#FREE} -gt 9 ]; then FREE=999999999; fi
}
# choose_base: BASE = the given directory, else the first that is writable and has room
choose_base() {
    cb_need=$NEED_KB
    if [ -n "$DIR" ]; then
        BASE=$DIR
        return 0
    fi
    cb_best='' cb_most=0
    for cb_dir in . /var/tmp /tmp /dev/shm /run "${HOME:-/root}"; do
        [ -d "$cb_dir" ] || continue
        [ -w "$cb_dir" ] || continue
        if [ "$cb_dir" = . ] && [ "$PWD" = / ]; then continue; fi
        free_kb "$cb_dir"
        if [ "$FS" = tmpfs ] && [ "$cb_need" -gt $((FREE / 4)) ]; then continue; fi
        if [ "$FREE" -ge "$cb_need" ]; then
            BASE=$cb_dir
            break
        fi
        if [ "$FREE" -gt "$cb_most" ]; then cb_best=$cb_dir cb_most=$FREE; fi
    done
    [ -n "$BASE" ] || BASE=$cb_best
    case $BASE in .) BASE=$PWD ;; esac
}
fail_nothing() {
    printf 'collector.sh: %s: nothing was written\n' "$1" >&2
    drop_lock
    exit 11
}
make_work_dir() {
    choose_base
    [ -n "$BASE" ] || fail_nothing 'no writable directory with room (use --dir)'
    case $BASE in /*) ;; *) BASE=$PWD/$BASE ;; esac
    read -r mw_uuid 2>/dev/null </proc/sys/kernel/random/uuid || mw_uuid=$$
    mw_hex=${mw_uuid%"${mw_uuid#??????}"}
    NAME=lasthop-$NODE_FILE-$(date -u +%Y%m%dT%H%M%SZ)-$mw_hex
    W=$BASE/$NAME
    # mkdir refuses a path that exists, so nobody can have put a link there.
    mkdir "$W" 2>/dev/null || fail_nothing "cannot write in $BASE"
    ND=$W/nodes/$NODE_FILE
    CTL=$W/.ctl
    if ! mkdir -p "$ND/host" "$CTL" 2>/dev/null; then
        rm -rf "$W"
        fail_nothing "cannot write in $BASE (disk full?)"
    fi
    OUT=$ND/host IDX=$ND/index.tsv
    free_kb "$BASE"
    mw_ballast=$((FREE / 4))
    [ "$mw_ballast" -le 1024 ] || mw_ballast=1024
    { printf '%-33s\n' '0 0' >"$CTL/job" && printf '%s\n' "$INDEX_HEADER" >"$IDX" &&
        printf "%$((mw_ballast * 1024))s" '' >"$CTL/ballast"; } 2>/dev/null || disk_full
}
take_lock() {
    [ "$UID_NOW" = 0 ] && [ -d /run ] && [ -w /run ] || return 0
    LOCK=/run/lasthop-collector-$HOST_INODE.lock
    if ! mkdir "$LOCK" 2>/dev/null; then
        tl_pid='' tl_start=''
        read -r tl_pid tl_start 2>/dev/null <"$LOCK/owner"
        process_start "${tl_pid:-0}"
        if [ -n "$PROCESS_START" ] && [ "$PROCESS_START" = "$tl_start" ]; then
            LOCK=''
            fail_nothing "another collector (process $tl_pid) is running on this node"
        fi
    fi
    process_start "$MAIN"
    printf '%s %s\n' "$MAIN" "$PROCESS_START" >"$LOCK/owner" 2>/dev/null || LOCK=''
}
process_start() { # PID: PROCESS_START = start time in clock ticks, empty when there is no such process
    PROCESS_START=''
    [ -r "/proc/$1/stat" ] || return 0
    read -r ps_line 2>/dev/null <"/proc/$1/stat" || return 0
    ps_line=${ps_line##*) }
    # shellcheck disable=SC2086  # the fields of one line
    set -- $ps_line
    PROCESS_START=${20:-}
}
drop_lock() {
    [ -n "$LOCK" ] || return 0
    rm -rf "$LOCK"
    LOCK=''
}

json_string() { # JSON = "TEXT"
    replace "$1" \\ \\\\
    replace "$REPLACED" '"' '\"'
    JSON="\"$REPLACED\""
}
write_bundle_json() { # STATUS EXIT
    {
        printf '{"format": "%s", "collector": {"version": "%s", "sha256": "%s"},\n' "$FORMAT" "$VERSION" "$SELF_SHA"
        json_string "$NODE"
        printf ' "created": "%s", "status": "%s", "exit": %s, "nodes": [%s], "profile": "%s",\n' \
            "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" "$2" "$JSON" "$PROFILE"
        if [ -n "$PODS_ASKED$PEER" ]; then
            json_string "${PODS_ASKED%% *}"
            wb_from=$JSON
            json_string "$PEER"
            printf ' "question": {"from": %s, "to": %s, "proto": "%s", "port": %s},\n' "$wb_from" "$JSON" "$Q_PROTO" "${Q_PORT:-null}"
        else
            printf ' "question": null,\n'
        fi
        printf ' "not_ok": ['
        wb_rest=$NOT_OK wb_comma=''
        while [ -n "$wb_rest" ]; do
            json_string "${wb_rest%%"$NL"*}"
            printf '%s%s' "$wb_comma" "$JSON"
            wb_comma=', '
            case $wb_rest in *"$NL"*) wb_rest=${wb_rest#*"$NL"} ;; *) wb_rest='' ;; esac
        done
        printf ']}\n'
    } >"$W/bundle.json"
}
write_sums() {
    have sha256sum && have find || return 0
    (cd "$W" && find . -type f ! -name SHA256SUMS ! -name bundle.json -exec sha256sum {} +) 2>/dev/null |
        sed 's/  \.\//  /' 2>/dev/null >"$W/SHA256SUMS"
}
# stream_out: the work directory as a framed stream on stdout (needs neither tar nor base64)
stream_out() {
    printf 'LASTHOP-STREAM 1\n'
    (
        cd "$1" || exit 1
        so_files=0
        if have wc && have find; then find . -type f -exec wc -c {} +; else find . -type f -printf '%s %p\n'; fi |
            {
                while read -r so_size so_path; do
                    case $so_path in ./*) ;; *) continue ;; esac
                    so_files=$((so_files + 1))
                    escape "${so_path#./}"
                    if [ -r "$so_path" ]; then
                        printf 'F %s %s\n' "$so_size" "$ESCAPED"
                        cat "$so_path"
                        printf '\n'
                    else
                        printf 'F - %s\n' "$ESCAPED"
                    fi
                done
                printf 'E %s\n' "$so_files"
            }
    )
}
# archive DIRECTORY-OF NAME TARGET-DIRECTORY: ARCHIVE = the file, or fails and leaves nothing
archive() {
    ARCHIVE=''
    if ! have tar; then
        ar_file=$3/$2.stream
        stream_out "$1/$2" 2>/dev/null >"$ar_file"
        ar_rc=$?
    elif have gzip; then
        ar_file=$3/$2.tar.gz
        ar_tar=$({ { tar -C "$1" -cf - "$2"; echo $? >&3; } | gzip -c >"$ar_file"; } 3>&1 2>/dev/null) || ar_tar=1
        ar_rc=$ar_tar
    else
        ar_file=$3/$2.tar
        tar -C "$1" -cf "$ar_file" "$2" 2>/dev/null
        ar_rc=$?
    fi
    if [ "$ar_rc" = 0 ] && [ -s "$ar_file" ]; then
        ARCHIVE=$ar_file
        return 0
    fi
    rm -f "$ar_file"
    return 1
}
# deliver: the archive in BASE, else in another directory, else the plain directory; prints its path as the last line
deliver() {
    if [ "$STDOUT" = auto ] && have tar && have gzip; then
        tar -C "$BASE" -cf - "$NAME" | gzip -c
        rm -rf "$W"
        return 0
    elif [ "$STDOUT" != no ]; then
        stream_out "$W"
        rm -rf "$W"
        return 0
    fi
    for de_dir in "$BASE" "$PWD" /var/tmp /tmp /dev/shm /run; do
        [ -d "$de_dir" ] || continue
        [ -w "$de_dir" ] || continue
        if archive "$BASE" "$NAME" "$de_dir"; then
            rm -rf "$W"
            [ "$de_dir" = "$BASE" ] || warn_plain "no room in $BASE: the archive is in $de_dir"
            printf '%s\n' "$ARCHIVE"
            return 0
        fi
    done
    warn_plain "no room for an archive anywhere: the bundle is the directory itself"
    printf '%s\n' "$W"
}
warn_plain() { printf 'collector.sh: %s\n' "$1" >&2; }

# finish STATUS EXIT: ends the bundle and the process; safe to be entered from a signal
finish() {
    [ "$FINISHED" = no ] || return 0
    FINISHED=yes
    trap '' INT TERM HUP
    OUT=$ND/host REL=host/
    fi_status=$1 fi_exit=$2
    stop_captures
    if [ -n "$WATCHDOG" ]; then
        kill -s KILL "$WATCHDOG" 2>/dev/null
        wait "$WATCHDOG" 2>/dev/null
    fi
    if [ "$FILTER_STATE" = none ] && [ -z "$ONLY" ] && [ "$fi_status" = complete ]; then
        NOT_OK="$NOT_OK${NOT_OK:+$NL}host/packet filter: none of its dumps"
    fi
    if [ -n "$NOT_OK" ] && [ "$fi_status" = complete ]; then fi_status=partial fi_exit=10; fi
    sweep
    # Signals may come before the first fingerprint.
    if [ -f "$ND/fingerprint_before.txt" ] && [ "$fi_status" != interrupted ]; then
        fingerprint "$ND/fingerprint_after.txt"
        [ -z "$SWEPT" ] || printf '%s\n' "$SWEPT" >>"$ND/fingerprint_after.txt"
        sha_of "$ND/fingerprint_before.txt"
        fi_before=$SHA
        sha_of "$ND/fingerprint_after.txt"
        meta fingerprint_before "$fi_before"
        meta fingerprint_after "$SHA"
        if [ "$SHA" = - ]; then
            meta fingerprint_changed unknown
        elif [ "$SHA" = "$fi_before" ]; then
            meta fingerprint_changed no
        else
            meta fingerprint_changed yes
            ! have diff || diff "$ND/fingerprint_before.txt" "$ND/fingerprint_after.txt" >"$ND/observer_diff.txt" 2>/dev/null
        fi
    fi
    { : >"$CTL/ballast"; } 2>/dev/null
    now
    meta end_epoch "$(date +%s)"
    meta end_uptime $((U0 + NOW / 100))
    meta status "$fi_status"
    meta exit "$fi_exit"
    drop_lock
    if [ "$COUNT" -eq 0 ]; then
        rm -rf "$W"
        warn_plain 'nothing was collected (no such id?)'
        exit 11
    fi
    [ -z "$NOT_OK" ] || [ "$QUIET" = yes ] || printf 'collector.sh: not complete:\n%s\n' "$NOT_OK" >&2
    log "finished: $fi_status"
    rm -rf "$CTL"
    if have find; then find "$W" -name '*.err' -size 0 -exec rm -f {} + 2>/dev/null; fi
    write_sums
    write_bundle_json "$fi_status" "$fi_exit" 2>/dev/null
    deliver
    exit "$fi_exit"
}
on_signal() { # EXIT
    trap '' INT TERM HUP
    if [ -n "$JOB" ]; then
        descendants "$JOB"
        signal_tree TERM "$JOB" "$TREE"
        sleep "$TICK"
        signal_tree KILL "$JOB" "$TREE"
        now
        epoch_of "$NOW"
        if [ "$CUR_ID" = batch ]; then
            os_id=''
            if read -r _ _ os_id 2>/dev/null <"$OUT/.now" && [ -n "$os_id" ]; then
                printf '%s\tskipped:interrupted\t-\t%s\t0\t%s\n' "$os_id" "$EPOCH" "$CUR_CMD" >>"$OUT/.index"
            fi
            batch_ingest "$OUT" 0 0
            case $REL in pods/*) pod_meta nsenter >"$OUT/pod.meta" ;; esac
        elif [ -n "$CUR_ID" ]; then
            index_line "$CUR_ID" skipped:interrupted - "$EPOCH" 0 - - "$CUR_REL" "$CUR_CMD"
        fi
    fi
    warn 'interrupted: packing what there is'
    finish interrupted "$1"
}

# ------------------------------------------------------------------------------------------------------------- main
FILTER_STATE=none SELF_SHA=- UID_NOW=0 HOST='' NODE='' NODE_FROM=hostname NODE_FILE='' FIRST_SAMPLE=0
profile_limits() {
    case $PROFILE in
    quick)
        BUDGET=45 CAP_BYTES=2097152 CONNTRACK_CAP=3000 PODS_MAX=40 PODS_BUDGET=20 LOG_LINES=200 PCAP_BYTES=1048576
        PCAP_PACKETS=5000 NEED_KB=30000
        ;;
    deep)
        BUDGET=1200 CAP_BYTES=268435456 CONNTRACK_CAP=1000000 PODS_MAX=1000 PODS_BUDGET=600 LOG_LINES=20000
        PCAP_BYTES=209715200 PCAP_PACKETS=1000000 NEED_KB=1000000
        ;;
    *)
        BUDGET=300 CAP_BYTES=33554432 CONNTRACK_CAP=50000 PODS_MAX=250 PODS_BUDGET=120 LOG_LINES=2000
        PCAP_BYTES=52428800 PCAP_PACKETS=200000 NEED_KB=200000
        ;;
    esac
    # ulimit -f counts blocks of 512 bytes; bash, when not in POSIX mode, 1024.
    pl_block=512
    if [ -n "${BASH_VERSION:-}" ]; then
        case $(set -o) in *posix*on*"$NL"privileged*) ;; *) pl_block=1024 ;; esac
    fi
    CAP_BLOCKS=$((CAP_BYTES / pl_block))
    PCAP_BLOCKS=$((PCAP_BYTES / pl_block))
}
node_name() {
    HOST=$(uname -n 2>/dev/null) || HOST=''
    if [ -z "$HOST" ]; then read -r HOST </proc/sys/kernel/hostname || HOST=unknown; fi
    NODE=$HOST
    if [ -r /var/lib/calico/nodename ]; then
        read -r NODE </var/lib/calico/nodename || [ -n "$NODE" ] || NODE=$HOST
        NODE_FROM=calico
    elif have tr; then
        for nn_dir in /proc/[0-9]*; do
            nn_comm=''
            IFS= read -r nn_comm 2>/dev/null <"$nn_dir/comm" || continue
            [ "$nn_comm" = kubelet ] || continue
            nn_cmd=$(tr '\000' ' ' 2>/dev/null <"$nn_dir/cmdline")
            case $nn_cmd in *--hostname-override[=\ ]*)
                nn_cmd=${nn_cmd#*--hostname-override?}
                NODE=${nn_cmd%% *}
                NODE_FROM=kubelet
                ;;
            esac
        done
    fi
    if [ -n "$NODE_NAME" ]; then NODE=$NODE_NAME NODE_FROM=option; fi
    case $NODE in '' | *[!A-Za-z0-9._-]* | .* | -*) NODE_FILE=node ;; *) NODE_FILE=$NODE ;; esac
}
start_meta() {
    {
        printf 'format=%s\nnode=%s\nhostname=%s\ncollector_version=%s\ncollector_sha256=%s\nprofile=%s\n' \
            "$FORMAT" "$NODE" "$HOST" "$VERSION" "$SELF_SHA" "$PROFILE"
        escape "$ARGS_SHOWN"
        printf 'args=%s\nuid=%s\nkernel=%s\n' "$ESCAPED" "$UID_NOW" "$(uname -r)"
        [ -z "$ONLY" ] || printf 'only=%s\n' "$ONLY"
        sm_boot=''
        read -r sm_boot 2>/dev/null </proc/sys/kernel/random/boot_id
        printf 'boot_id=%s\nstart_epoch=%s\nstart_uptime=%s\ntimezone=%s\nnetns_inode=%s\n' \
            "$sm_boot" "$T0" "$U0" "$(date +%z)" "$HOST_INODE"
        [ -z "$PODS_ASKED" ] || printf 'question_from=%s\n' "${PODS_ASKED%% *}"
        [ -z "$PEER" ] || printf 'question_to=%s\n' "$PEER"
        [ -z "$Q_PROTO" ] || printf 'question_proto=%s\n' "$Q_PROTO"
        [ -z "$Q_PORT" ] || printf 'question_port=%s\n' "$Q_PORT"
        printf 'status=running\n'
    } >"$ND/node.meta" 2>/dev/null || disk_full
}
collect() {
    find_processes
    LH_NFT=no LH_DIAG=no
    if loaded nf_tables; then LH_NFT=yes; fi
    if loaded inet_diag && loaded tcp_diag && loaded udp_diag; then LH_DIAG=yes; fi
    export LH_NFT LH_DIAG
    sec_identity
    ip_options
    sec_links
    sec_filter
    now
    FIRST_SAMPLE=$NOW
    sec_sysctl
    say 'node state saved'
    if pods_wanted; then sec_pods; fi
    sec_sockets_and_counters
    check_cluster_tools
    resolve_question
    sec_conntrack_focus
    sec_devices
    sec_bird
    sec_calico
    sec_conntrack
    sec_identity_rest
    say 'pods, counters, BIRD and Calico saved'
    if [ "$CAPTURE" -gt 0 ] || [ "$PROBE" = yes ]; then
        sec_capture
        sec_second_sample
        sec_cluster
    else
        sec_cluster
        sec_second_sample
    fi
    sec_logs
    runf clock_end 5 'date +%s; read /proc/uptime' clock
}
main_node() {
    MAIN=$$
    UID_NOW=$(id -u 2>/dev/null) || UID_NOW=0
    profile_limits
    if have setsid; then HAVE_SETSID=yes; fi
    on_path setsid
    SETSID=$FOUND
    on_path sh
    SH=$FOUND
    start_clock
    node_name
    if [ "$DRY" = yes ]; then
        BUDGET_END=2000000000 CTL=/dev/null
        collect
        exit 0
    fi
    HOST_INODE=$(readlink "/proc/$$/ns/net" 2>/dev/null) || HOST_INODE=''
    HOST_INODE=${HOST_INODE#net:\[}
    HOST_INODE=${HOST_INODE%\]}
    take_lock
    make_work_dir
    if [ -f "$0" ] && [ -r "$0" ]; then sha_of "$0"; SELF_SHA=$SHA; fi
    start_meta
    TOKEN=$NAME
    { printf '1000\n' >"/proc/$$/oom_score_adj"; } 2>/dev/null
    ! have renice || renice -n 2 -p "$$" >/dev/null 2>&1
    if sleep 0.01 2>/dev/null; then TICK=0.1; fi
    load_builtin_list
    BUDGET_END=$((BUDGET * 100))
    trap 'on_signal 130' INT
    trap 'on_signal 143' TERM
    trap 'on_signal 129' HUP
    trap 'STUCK=yes' USR1
    watchdog </dev/null >/dev/null 2>&1 &
    WATCHDOG=$!
    # Only after the watchdog: what carries the token was started by a command.
    LASTHOP_TOKEN=$TOKEN
    export LASTHOP_TOKEN
    if [ -z "$ONLY" ]; then fingerprint "$ND/fingerprint_before.txt"; fi
    collect
    finish complete 0
}

# ---------------------------------------------------------------------------------------------------- several nodes
# Each node's collector is fed through the transport's stdin and answers on stdout; nothing is copied to the node. A node that
# does not answer becomes FAILED/<node>.txt; nobody waits for the last one for ever.
remote() { # NODE
    # shellcheck disable=SC2086  # quoted words, made by quote
    if [ "$VIA" = ssh ]; then
        exec ssh -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5 "$1" "sh -s -- $REMOTE_ARGS" <"$0"
    fi
    re_pod=$(kubectl get pods -A -l k8s-app=calico-node --field-selector "spec.nodeName=$1" --request-timeout=10s \
        -o 'jsonpath={.items[0].metadata.namespace} {.items[0].metadata.name}' </dev/null) || exit 1
    [ "${re_pod% *}" != "$re_pod" ] || {
        printf 'no calico-node pod on %s\n' "$1" >&2
        exit 1
    }
    eval "set -- $REMOTE_ARGS"
    exec kubectl exec -i -n "${re_pod%% *}" "${re_pod#* }" -c calico-node -- sh -s -- "$@" <"$0"
}
main_cluster() {
    MAIN=$$
    profile_limits
    [ -f "$0" ] || die_usage 'cluster needs the script as a file, not on stdin'
    [ -r "$0" ] || die_usage 'cluster needs the script as a file, not on stdin'
    have "$VIA" || fail_nothing "$VIA is missing"
    start_clock
    UID_NOW=$(id -u 2>/dev/null) || UID_NOW=0
    NODE_FILE=cluster
    if sleep 0.01 2>/dev/null; then TICK=0.2; fi
    [ "$NODE_TIMEOUT" -gt 0 ] || NODE_TIMEOUT=$((BUDGET + CAPTURE + 60))
    set -- --stdout=auto --profile "$PROFILE"
    for mc_pod in $PODS_ASKED; do set -- "$@" --pod "$mc_pod"; done
    [ -z "$PEER" ] || set -- "$@" --peer "$PEER"
    case $Q_PROTO in '') ;; icmp*) set -- "$@" --port "$Q_PROTO" ;; *) set -- "$@" --port "$Q_PROTO/$Q_PORT" ;; esac
    mc_go=0
    if [ "$CAPTURE" -gt 0 ]; then
        # Time for every node to save its state first.
        mc_go=25
        PARALLEL=1000
        set -- "$@" --capture "$CAPTURE" --capture-after "$mc_go"
    fi
    [ "$PROBE" = no ] || set -- "$@" --probe
    [ -z "$ONLY" ] || set -- "$@" --only "$ONLY"
    [ "$QUIET" = no ] || set -- "$@" --quiet
    quote "$@"
    REMOTE_ARGS=$QUOTED
    if [ "$DRY" = yes ]; then
        mc_rest=$NODES,
        while [ -n "$mc_rest" ]; do
            printf '%s\t%s sh -s -- %s\n' "${mc_rest%%,*}" "$VIA" "$REMOTE_ARGS"
            mc_rest=${mc_rest#*,}
        done
        exit 0
    fi
    choose_base
    [ -n "$BASE" ] || fail_nothing 'no writable directory with room (use --dir)'
    case $BASE in /*) ;; *) BASE=$PWD/$BASE ;; esac
    NAME=lasthop-cluster-$(date -u +%Y%m%dT%H%M%SZ)-$$
    W=$BASE/$NAME CTL=$BASE/.$NAME
    mkdir "$W" "$CTL" "$W/FAILED" 2>/dev/null || fail_nothing "cannot write in $BASE"
    printf 'node\tbefore\tafter\trc\n' >"$W/orchestrator.tsv"
    trap 'cluster_signal 130' INT
    trap 'cluster_signal 143' TERM
    trap 'cluster_signal 129' HUP
    mc_queue=$NODES, RUNNING='' mc_good=0 mc_bad=0
    while [ -n "$mc_queue$RUNNING" ]; do
        # shellcheck disable=SC2086  # one word per running node
        set -- $RUNNING
        while [ -n "$mc_queue" ] && [ $# -lt "$PARALLEL" ]; do
            mc_node=${mc_queue%%,*}
            mc_queue=${mc_queue#*,}
            [ -n "$mc_node" ] || continue
            start_node "$mc_node"
            # shellcheck disable=SC2086
            set -- $RUNNING
        done
        sleep "$TICK"
        poll_nodes
        if [ "$mc_go" -gt 0 ] && [ $((NOW / 100)) -ge "$mc_go" ] && [ -n "$RUNNING" ]; then
            warn_plain "capturing for $CAPTURE seconds: reproduce the problem NOW"
            mc_go=0
        fi
    done
    cluster_finish
}
start_node() {
    now
    sn_file=$1
    {
        (
            trap - INT TERM HUP
            remote "$1"
        ) >"$CTL/$sn_file.out" 2>"$CTL/$sn_file.err" &
    } 2>/dev/null
    RUNNING="$RUNNING $1=$!=$NOW=$(date +%s)"
    say "$1: started"
}
poll_nodes() {
    pn_left=''
    for pn_job in $RUNNING; do
        pn_node=${pn_job%%=*} pn_rest=${pn_job#*=}
        pn_pid=${pn_rest%%=*} pn_rest=${pn_rest#*=}
        pn_start=${pn_rest%%=*} pn_before=${pn_rest#*=}
        now
        if node_runs "$pn_pid"; then
            if [ "$NOW" -lt $((pn_start + NODE_TIMEOUT * 100)) ]; then
                pn_left="$pn_left $pn_job"
                continue
            fi
            descendants "$pn_pid"
            signal_tree TERM "$pn_pid" "$TREE"
            sleep "$TICK"
            signal_tree KILL "$pn_pid" "$TREE"
            pn_rc=timeout
        else
            wait "$pn_pid" 2>/dev/null
            pn_rc=$?
        fi
        node_result "$pn_node" "$pn_rc" "$pn_before"
    done
    RUNNING=$pn_left
}
# node_runs PID: false as soon as it has ended, a zombie included
node_runs() {
    read -r nr_line 2>/dev/null <"/proc/$1/stat" || return 1
    nr_line=${nr_line##*) }
    [ "${nr_line%% *}" != Z ]
}
node_result() { # NODE RC BEFORE
    printf '%s\t%s\t%s\t%s\n' "$1" "$3" "$(date +%s)" "$2" >>"$W/orchestrator.tsv"
    nr_kind=tar.gz
    { case $(head -c 14 "$CTL/$1.out") in LASTHOP-STREAM) nr_kind=stream ;; esac; } 2>/dev/null
    if [ -s "$CTL/$1.out" ]; then
        mv "$CTL/$1.out" "$W/$1.$nr_kind"
    fi
    case $2 in
    0) mc_good=$((mc_good + 1)) ;;
    *)
        mc_bad=$((mc_bad + 1))
        if [ "$2" != 10 ]; then
            {
                printf 'node=%s\nrc=%s\n' "$1" "$2"
                tail -n 20 "$CTL/$1.err"
            } >"$W/FAILED/$1.txt" 2>/dev/null
        fi
        ;;
    esac
    printf 'collector.sh: %s: %s\n' "$1" "$2" >&2
}
cluster_finish() {
    rm -rf "$CTL"
    cf_any=no
    for cf_file in "$W"/*.tar.gz "$W"/*.stream; do [ ! -s "$cf_file" ] || cf_any=yes; done
    cf_exit=${1:-0}
    if [ "$cf_any" = no ]; then
        cat "$W"/FAILED/* >&2 2>/dev/null
        rm -rf "$W"
        fail_nothing 'no node answered'
    fi
    if [ "$mc_bad" -gt 0 ] && [ "$cf_exit" = 0 ]; then cf_exit=10; fi
    deliver
    exit "$cf_exit"
}
cluster_signal() {
    trap '' INT TERM HUP
    for cs_job in $RUNNING; do
        cs_pid=${cs_job#*=}
        cs_pid=${cs_pid%%=*}
        descendants "$cs_pid"
        signal_tree TERM "$cs_pid" "$TREE"
        node_result "${cs_job%%=*}" interrupted "${cs_job##*=}"
    done
    cluster_finish "$1"
}
main_leftover() {
    STDOUT=no
    BASE=${LEFTOVER%/}
    NAME=${BASE##*/}
    case $BASE in */*) BASE=${BASE%/*} ;; *) BASE=$PWD ;; esac
    case $BASE in /*) ;; *) BASE=$PWD/$BASE ;; esac
    W=$BASE/$NAME
    # It is removed once it is packed, so it must be what it is said to be.
    case $NAME in lasthop-*-*Z-??????) ;; *) die_usage "not a leftover of this collector: $LEFTOVER" ;; esac
    set -- "$W"/nodes/*/index.tsv
    [ -f "$1" ] || die_usage "not a leftover of this collector: $LEFTOVER"
    rm -rf "$W/.ctl"
    deliver
    exit 10
}

parse_options "$@"
if [ -n "$LEFTOVER" ]; then
    main_leftover
elif [ "$MODE" = cluster ]; then
    main_cluster
else
    main_node
fi
