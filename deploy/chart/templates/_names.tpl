{{/* Start of the names of resources. 40 characters leave room for a part's name and a Job's suffix. */}}
{{- define "steptrail.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The labels that select the pods of a part: (dict "root" $ "name" "projector"). */}}
{{- define "steptrail.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{/* All labels of what belongs to a part. */}}
{{- define "steptrail.labels" -}}
{{ include "steptrail.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: steptrail
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "steptrail.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "steptrail.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "steptrail.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/*
The Service of the pages is not called …-web: Kubernetes would put STEPTRAIL_WEB_PORT=tcp://… into every pod of the
namespace, which is a setting that others' workers would then refuse.
*/}}
{{- define "steptrail.webService" -}}
{{ include "steptrail.fullname" . }}-http
{{- end -}}

{{/* A value as the text of a variable. YAML's numbers are floats here: 33554432 would become 3.3554432e+07. */}}
{{- define "steptrail.text" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) -}}
{{ int64 . }}
{{- else -}}
{{ toString . }}
{{- end -}}
{{- end -}}

{{/* The port of a URL: (dict "url" … "http" 8123 "https" 8443), the last two where it names none. */}}
{{- define "steptrail.portOf" -}}
{{- $named := regexFind ":[0-9]+$" (regexFind "^https?://[^/]+" .url) -}}
{{- if $named -}}
{{ trimPrefix ":" $named }}
{{- else if hasPrefix "https" .url -}}
{{ .https }}
{{- else -}}
{{ .http }}
{{- end -}}
{{- end -}}
