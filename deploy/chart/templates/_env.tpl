{{- define "steptrail.fromSecret" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef: {name: {{ .secret | quote }}, key: {{ .key | quote }}}
{{- end -}}

{{- define "steptrail.plain" -}}
- name: {{ .variable }}
  value: {{ include "steptrail.text" .value | quote }}
{{- end -}}

{{/* Secrets of a part, each the part's own or else everybody's; none for what the part does not talk to. */}}
{{- define "steptrail.kafkaSecret" -}}
{{- if not (has .name (list "migrate" "expect")) -}}
{{ default .root.Values.kafka.existingSecret (index .root.Values .name).kafkaSecret }}
{{- end -}}
{{- end -}}

{{- define "steptrail.kafkaClientSecret" -}}
{{- if not (has .name (list "migrate" "expect")) -}}
{{ default .root.Values.kafka.clientSecret (index .root.Values .name).kafkaClientSecret }}
{{- end -}}
{{- end -}}

{{- define "steptrail.clickhouseSecret" -}}
{{- if ne .name "topics" -}}
{{ default .root.Values.clickhouse.existingSecret (index .root.Values .name).clickhouseSecret }}
{{- end -}}
{{- end -}}

{{/* The variables of a container: (dict "root" $ "name" part "own" (dict variable value)). */}}
{{- define "steptrail.env" -}}
{{- $v := .root.Values -}}
{{- $part := index $v .name -}}
{{- $kafkaSecret := include "steptrail.kafkaSecret" . -}}
{{- $kafkaClientSecret := include "steptrail.kafkaClientSecret" . -}}
{{- $clickhouseSecret := include "steptrail.clickhouseSecret" . -}}
{{- $plain := dict
  "STEPTRAIL_KAFKA" $v.kafka.bootstrapServers
  "STEPTRAIL_CLICKHOUSE" $v.clickhouse.url
  "STEPTRAIL_TOPIC_PREFIX" $v.topicPrefix
-}}
{{- if $v.kafka.securityProtocol }}{{ $_ := set $plain "STEPTRAIL_KAFKA_SECURITY_PROTOCOL" $v.kafka.securityProtocol }}{{ end -}}
{{- if $v.kafka.saslMechanism }}{{ $_ := set $plain "STEPTRAIL_KAFKA_SASL_MECHANISM" $v.kafka.saslMechanism }}{{ end -}}
{{- if $v.kafka.caSecret }}{{ $_ := set $plain "STEPTRAIL_KAFKA_SSL_CA_LOCATION" (printf "/etc/steptrail/kafka-ca/%s" $v.kafka.caKey) }}{{ end -}}
{{- if $kafkaClientSecret }}
{{- $_ := set $plain "STEPTRAIL_KAFKA_SSL_CERTIFICATE_LOCATION" (printf "/etc/steptrail/kafka-client/%s" $v.kafka.clientCertificateKey) }}
{{- $_ := set $plain "STEPTRAIL_KAFKA_SSL_KEY_LOCATION" (printf "/etc/steptrail/kafka-client/%s" $v.kafka.clientPrivateKeyKey) }}
{{- end -}}
{{- if $v.clickhouse.caSecret }}{{ $_ := set $plain "STEPTRAIL_CLICKHOUSE_CA" (printf "/etc/steptrail/clickhouse-ca/%s" $v.clickhouse.caKey) }}{{ end -}}
{{- if not $v.clickhouse.verify }}{{ $_ := set $plain "STEPTRAIL_CLICKHOUSE_VERIFY" "false" }}{{ end -}}
{{- if $v.schemaRegistry.url }}{{ $_ := set $plain "STEPTRAIL_SCHEMA_REGISTRY" $v.schemaRegistry.url }}{{ end -}}
{{- if $v.schemaRegistry.caSecret }}{{ $_ := set $plain "STEPTRAIL_SCHEMA_REGISTRY_CA" (printf "/etc/steptrail/registry-ca/%s" $v.schemaRegistry.caKey) }}{{ end -}}
{{- range $name, $value := merge (dict) $part.settings $v.settings .own $plain }}
{{ include "steptrail.plain" (dict "variable" $name "value" $value) }}
{{- end }}
{{- with $kafkaSecret }}
{{ include "steptrail.fromSecret" (dict "variable" "STEPTRAIL_KAFKA_SASL_USERNAME" "secret" . "key" $v.kafka.usernameKey) }}
{{ include "steptrail.fromSecret" (dict "variable" "STEPTRAIL_KAFKA_SASL_PASSWORD" "secret" . "key" $v.kafka.passwordKey) }}
{{- end }}
{{- with $kafkaClientSecret }}
{{- if $v.kafka.clientPasswordKey }}
{{ include "steptrail.fromSecret" (dict "variable" "STEPTRAIL_KAFKA_SSL_KEY_PASSWORD" "secret" . "key" $v.kafka.clientPasswordKey) }}
{{- end }}
{{- end }}
{{- if and $v.kafka.optionsSecret (not (has .name (list "migrate" "expect"))) }}
{{ include "steptrail.fromSecret" (dict "variable" "STEPTRAIL_KAFKA_OPTIONS" "secret" $v.kafka.optionsSecret "key" $v.kafka.optionsKey) }}
{{- end }}
{{- with $clickhouseSecret }}
{{ include "steptrail.fromSecret" (dict "variable" "STEPTRAIL_CLICKHOUSE_USER" "secret" . "key" $v.clickhouse.usernameKey) }}
{{ include "steptrail.fromSecret" (dict "variable" "STEPTRAIL_CLICKHOUSE_PASSWORD" "secret" . "key" $v.clickhouse.passwordKey) }}
{{- end }}
{{- with $v.schemaRegistry.existingSecret }}
{{ include "steptrail.fromSecret" (dict "variable" "STEPTRAIL_SCHEMA_REGISTRY_USER" "secret" . "key" $v.schemaRegistry.usernameKey) }}
{{ include "steptrail.fromSecret" (dict "variable" "STEPTRAIL_SCHEMA_REGISTRY_PASSWORD" "secret" . "key" $v.schemaRegistry.passwordKey) }}
{{- end }}
{{- end -}}
