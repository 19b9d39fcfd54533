{{/* What every pod is held to. */}}
{{- define "steptrail.podSecurity" -}}
automountServiceAccountToken: false
# Kubernetes would add STEPTRAIL_…_PORT=tcp://… of Services in the namespace to the settings.
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- with .Values.podSecurity }}
  {{- if not (kindIs "invalid" .runAsUser) }}
  runAsUser: {{ int64 .runAsUser }}
  {{- end }}
  {{- if not (kindIs "invalid" .runAsGroup) }}
  runAsGroup: {{ int64 .runAsGroup }}
  {{- end }}
  {{- if not (kindIs "invalid" .fsGroup) }}
  fsGroup: {{ int64 .fsGroup }}
  {{- end }}
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "steptrail.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  privileged: false
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* Files that a part is given, as a dict of volume name and source: Secrets of certificates, its configuration. */}}
{{- define "steptrail.volumes" -}}
{{- $v := .root.Values -}}
- name: tmp
  emptyDir: {sizeLimit: {{ $v.tmpSizeLimit | quote }}}
{{- with $v.kafka.caSecret }}
- name: kafka-ca
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- with include "steptrail.kafkaClientSecret" . }}
- name: kafka-client
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- with $v.clickhouse.caSecret }}
- name: clickhouse-ca
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- with $v.schemaRegistry.caSecret }}
- name: registry-ca
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- with .configMap }}
- name: config
  configMap: {name: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- if and (eq .name "web") $v.web.tokensSecret }}
- name: tokens
  secret: {secretName: {{ $v.web.tokensSecret | quote }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{- define "steptrail.mounts" -}}
{{- range include "steptrail.volumes" . | fromYamlArray }}
- name: {{ .name }}
  {{- if eq .name "tmp" }}
  mountPath: /tmp
  {{- else }}
  mountPath: /etc/steptrail/{{ .name }}
  readOnly: true
  {{- end }}
{{- end }}
{{- end -}}

{{/* The ConfigMap that a part reads, or nothing. */}}
{{- define "steptrail.configMap" -}}
{{- $part := index .root.Values .name -}}
{{- if $part.existingConfigMap -}}
{{ $part.existingConfigMap }}
{{- else if or $part.rules $part.config $part.steps -}}
{{ include "steptrail.fullname" .root }}-{{ .name }}
{{- end -}}
{{- end -}}
