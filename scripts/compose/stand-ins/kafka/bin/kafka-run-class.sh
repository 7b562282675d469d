#!/bin/bash
# Runs CLASS with ARG...; reads the same variables as Kafka's own script.
: "${KAFKA_HEAP_OPTS:=-Xmx256M}"
: "${KAFKA_LOG4J_OPTS:=-Dlog4j2.configurationFile=file:/opt/kafka/config/tools-log4j2.yaml}"
: "${KAFKA_JVM_PERFORMANCE_OPTS:=-server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent}"
# shellcheck disable=SC2086 # These variables contain several options.
exec java $KAFKA_HEAP_OPTS $KAFKA_JVM_PERFORMANCE_OPTS -Djava.awt.headless=true $KAFKA_LOG4J_OPTS ${KAFKA_OPTS-} \
    -cp '/opt/kafka/libs/*' "$@"
