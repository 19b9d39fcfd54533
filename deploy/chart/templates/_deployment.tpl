{{/*
The Deployment of a part that runs until it is stopped: (dict "root" $ "name" "projector" "own" variables).
`surge`: whether a new pod comes before an old one goes; consumers change places instead, with fewer rebalances.
*/}}
{{- define "steptrail.deployment" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $part := index $v .name -}}
{{- $configMap := include "steptrail.configMap" . -}}
{{- $own := merge (dict
  "STEPTRAIL_METRICS_HOST" "0.0.0.0"
  "STEPTRAIL_METRICS_PORT" $v.metrics.port
  "STEPTRAIL_SHUTDOWN_TIMEOUT_S" $v.shutdownSeconds) .own -}}
{{- $context := dict "root" $root "name" .name "own" $own "configMap" $configMap -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "steptrail.fullname" $root }}-{{ .name }}
  labels: {{- include "steptrail.labels" . | nindent 4 }}
spec:
  {{- if not (and $part.autoscaling ($part.autoscaling).enabled) }}
  replicas: {{ int64 $part.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  selector:
    matchLabels: {{- include "steptrail.selector" . | nindent 6 }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {{ if .surge }}{maxSurge: 1, maxUnavailable: 0}{{ else }}{maxSurge: 0, maxUnavailable: 1}{{ end }}
  template:
    metadata:
      labels:
        {{- with $part.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- include "steptrail.labels" . | nindent 8 }}
      annotations:
        {{- with $part.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- with default (default $part.config $part.rules) $part.existingConfigMap }}
        checksum/config: {{ sha256sum . }}
        {{- end }}
        kubectl.kubernetes.io/default-container: {{ .name }}
    spec:
      serviceAccountName: {{ include "steptrail.serviceAccount" $root | quote }}
      {{- include "steptrail.podSecurity" $root | nindent 6 }}
      # It stops by itself within shutdownSeconds; what is killed later loses nothing either.
      terminationGracePeriodSeconds: {{ add (ceil $v.shutdownSeconds | int) 10 (ternary 5 0 (eq .name "web")) }}
      {{- with $part.priorityClassName }}
      priorityClassName: {{ . | quote }}
      {{- end }}
      {{- with $part.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $part.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $part.affinity }}
      affinity: {{- toYaml . | nindent 8 }}
      {{- end }}
      topologySpreadConstraints:
        {{- if $part.topologySpreadConstraints }}
        {{- toYaml $part.topologySpreadConstraints | nindent 8 }}
        {{- else }}
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- include "steptrail.selector" . | nindent 14 }}
        {{- end }}
      containers:
        - name: {{ .name }}
          image: {{ include "steptrail.image" $root | quote }}
          imagePullPolicy: {{ $v.image.pullPolicy }}
          args: [run, {{ .name }}]
          {{- include "steptrail.containerSecurity" . | nindent 10 }}
          env: {{- include "steptrail.env" $context | trim | nindent 12 }}
          {{- if and (eq .name "alerts") $part.secretEnv }}
          envFrom:
            {{- range $part.secretEnv }}
            - secretRef: {name: {{ . | quote }}}
            {{- end }}
          {{- end }}
          ports:
            - {name: metrics, containerPort: {{ int64 $v.metrics.port }}}
            {{- if eq .name "web" }}
            - {name: http, containerPort: {{ int64 $part.port }}}
            {{- end }}
          # /healthz: the loop turns, also while Kafka or ClickHouse is away. /readyz: it waits for nothing.
          startupProbe:
            httpGet: {path: /healthz, port: metrics}
            periodSeconds: 2
            failureThreshold: 60
          livenessProbe:
            httpGet: {path: /healthz, port: metrics}
            periodSeconds: 20
            timeoutSeconds: 5
            failureThreshold: 3
          readinessProbe:
            {{- if eq .name "web" }}
            httpGet: {path: /healthz, port: http}
            {{- else }}
            httpGet: {path: /readyz, port: metrics}
            {{- end }}
            periodSeconds: 5
            timeoutSeconds: 5
          {{- if eq .name "web" }}
          # Until the Service has taken the pod out: what is asked meanwhile is answered.
          lifecycle:
            preStop:
              exec: {command: [sleep, "5"]}
          {{- end }}
          resources: {{- toYaml $part.resources | nindent 12 }}
          volumeMounts: {{- include "steptrail.mounts" $context | trim | nindent 12 }}
      volumes: {{- include "steptrail.volumes" $context | trim | nindent 8 }}
{{- end -}}
