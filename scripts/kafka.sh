#!/usr/bin/env bash
# Runs a real single-node Apache Kafka for tests and benchmarks.
#
#   kafka.sh install                            fetches Kafka into the cache, unless it is already there
#   kafka.sh format DIR PORT [NODE VOTERS]      formats DIR as the storage of a new broker; optionally as node NODE
#                                               of a cluster with the controllers VOTERS, `NODE@HOST:PORT,...`
#   kafka.sh start  DIR PORT [KEY=VALUE ...]    runs the broker on 127.0.0.1:PORT in this process (exec), so that the
#                                               caller has its pid: SIGTERM stops it cleanly, SIGKILL simulates a
#                                               crash; KEY=VALUE overrides a setting
#
# A restart with the same DIR and PORT keeps the topics. KAFKA_LOG_LEVEL=INFO increases the log level.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

here="$LOOKOUT_ROOT/scripts/kafka"
version="$(sed -n '/kafka_2.13/{n;s:.*<version>\(.*\)</version>.*:\1:p}' "$here/pom.xml")"
home="$LOOKOUT_CACHE/kafka-$version"

usage() {
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}

fetch() {
    local said
    log "fetching Apache Kafka $version from Maven Central"
    said="$(mvn --quiet --batch-mode --file "$here/pom.xml" \
        org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$1" 2>&1)" ||
        die "maven could not fetch Apache Kafka; is Maven Central, or the mirror in ~/.m2/settings.xml, reachable?
$said"
}

install() {
    [[ -d "$home" ]] && return 0
    need java "'make setup' installs it (Debian: default-jre-headless)"
    need mvn "'make setup' installs it (Debian: maven)"
    in_cache "$home" fetch
}

# run_java CLASS [ARG...]: replaces this shell with Java.
# The heap is small and only the first compiler tier is used, because the broker of a test runs for seconds and shares
# the machine with the program under test.
run_java() {
    [[ -d "$home" ]] || die "Apache Kafka $version is not in $LOOKOUT_CACHE; run 'scripts/kafka.sh install'"
    need java "'make setup' installs it (Debian: default-jre-headless)"
    exec java -Xms128m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto \
        -XX:-UsePerfData -Djava.awt.headless=true \
        "-Dlog4j2.configurationFile=file://$here/log4j2.properties" -cp "$home/*" "$@"
}

# Prints a port for the controller, which only the node itself uses. The port is below the kernel's range for outgoing
# connections, so that it is still free when the broker is restarted.
free_port() {
    local port
    for _ in {1..50}; do
        port=$((RANDOM % 10000 + 20000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return 0
        fi
    done
    die "no free TCP port between 20000 and 30000"
}

format() {
    local dir="$1" port="$2" node="${3:-1}" voters="${4:-}" controller replicas=1 in_sync=1
    [[ ! -e "$dir/server.properties" ]] || die "$dir already contains a broker; start it, or use another folder"
    mkdir -p "$dir"
    dir="$(cd "$dir" && pwd)"
    if [[ -z "$voters" ]]; then
        controller="$(free_port)"
        voters="$node@127.0.0.1:$controller"
    else
        controller="$(sed -n "s/.*\b$node@[^:]*:\([0-9]*\).*/\1/p" <<<"$voters")"
        [[ -n "$controller" ]] || die "$voters has no node $node"
        replicas=3 in_sync=2
    fi
    cat >"$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=$node
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
num.partitions=1
default.replication.factor=$replicas
min.insync.replicas=$in_sync
offsets.topic.replication.factor=$replicas
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$in_sync
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# A broker that is restarted after a kill has to wait until its old session expires, so the timeout is short.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
controlled.shutdown.enable=false
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=2097152
PROPERTIES
    # A fixed cluster id is sufficient, because brokers never share storage; generating one would take a second of JVM
    # time.
    run_java kafka.tools.StorageTool format --config "$dir/server.properties" \
        --cluster-id bG9va291dC10ZXN0LWthZg >/dev/null
}

start() {
    local dir="$1" port="$2" override overrides=()
    shift 2
    [[ -f "$dir/server.properties" ]] || die "$dir contains no broker; run 'scripts/kafka.sh format $dir $port'"
    grep -q "^advertised.listeners=PLAINTEXT://127.0.0.1:$port$" "$dir/server.properties" ||
        die "$dir was formatted for a port other than $port"
    for override in "$@"; do
        overrides+=(--override "$override")
    done
    run_java kafka.Kafka "$dir/server.properties" "${overrides[@]}"
}

command="${1:-}"
[[ $# -eq 0 ]] || shift
case "$command" in
    install) [[ $# -eq 0 ]] || usage; install ;;
    format) [[ $# -eq 2 || $# -eq 4 ]] || usage; format "$@" ;;
    start) [[ $# -ge 2 ]] || usage; start "$@" ;;
    *) usage ;;
esac
