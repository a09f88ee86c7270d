{{- /* What all pods of the chart have in common: the restricted profile, and nothing to be found. */ -}}

{{- define "ims-gateway.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- range $key, $id := .Values.podUser }}
  {{- if not (kindIs "invalid" $id) }}
  {{ $key }}: {{ int64 $id }}
  {{- end }}
  {{- end }}
  {{- if .Values.podUser.fsGroup }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "ims-gateway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* A variable whose text is nobody's template: "$(" would be taken for a reference. */ -}}
{{- define "ims-gateway.variable" -}}
- name: {{ .name }}
  value: {{ ternary .value (toJson .value) (kindIs "string" .value) | replace "$(" "$$(" | quote }}
{{- end -}}

{{- define "ims-gateway.databaseVariables" -}}
- name: IMSGW_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.secretName | quote }}
      key: {{ .Values.database.urlKey | quote }}
{{- with .Values.settings.database_timeout_seconds }}
{{ include "ims-gateway.variable" (dict "name" "IMSGW_DATABASE_TIMEOUT_SECONDS" "value" .) }}
{{- end }}
{{- end -}}

{{- /* Everything that the server is told by its environment stands here. */ -}}
{{- define "ims-gateway.variables" -}}
{{ include "ims-gateway.databaseVariables" . }}
- name: IMSGW_KEY_PEPPER
  valueFrom:
    secretKeyRef:
      name: {{ .Values.keyPepper.secretName | quote }}
      key: {{ .Values.keyPepper.key | quote }}
- name: IMSGW_CONFIG_DIR
  value: /etc/ims-gateway
- name: IMSGW_LISTEN
  value: {{ printf "0.0.0.0:%d" (int .Values.ports.grpc) | quote }}
- name: IMSGW_ADMIN_LISTEN
  value: {{ printf "0.0.0.0:%d" (int .Values.ports.admin) | quote }}
- name: IMSGW_METRICS_LISTEN
  value: {{ printf "0.0.0.0:%d" (int .Values.ports.metrics) | quote }}
{{ include "ims-gateway.variable" (dict "name" "IMSGW_DRAIN_DELAY_SECONDS" "value" .Values.drain.delaySeconds) }}
{{ include "ims-gateway.variable" (dict "name" "IMSGW_DRAIN_SECONDS" "value" .Values.drain.seconds) }}
{{- if include "ims-gateway.tlsSecretName" . }}
- name: IMSGW_TLS_CERTIFICATE_FILE
  value: /etc/ims-gateway/tls/tls.crt
- name: IMSGW_TLS_KEY_FILE
  value: /etc/ims-gateway/tls/tls.key
{{- with .Values.tls.clientCa }}
{{- if .secretName }}
{{ include "ims-gateway.variable" (dict "name" "IMSGW_TLS_CLIENT_CA_FILE" "value" (printf "/etc/ims-gateway/client-ca/%s" .key)) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $value := omit .Values.settings "database_timeout_seconds" }}
{{ include "ims-gateway.variable" (dict "name" (printf "IMSGW_%s" (upper $name)) "value" $value) }}
{{- end }}
{{- with .Values.upstream }}
{{- if .accessKeySecretName }}
- name: ALIBABA_CLOUD_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ .accessKeySecretName | quote }}
      key: {{ .accessKeyIdKey | quote }}
- name: ALIBABA_CLOUD_ACCESS_KEY_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ .accessKeySecretName | quote }}
      key: {{ .accessKeySecretKey | quote }}
{{- end }}
{{- end }}
{{- with .Values.telemetry.otlpEndpoint }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME)
{{ include "ims-gateway.variable" (dict "name" "OTEL_EXPORTER_OTLP_ENDPOINT" "value" .) }}
{{- end }}
{{- end -}}

{{- define "ims-gateway.databaseCaVolume" -}}
{{- with .Values.database.caSecretName -}}
- name: database-ca
  secret:
    secretName: {{ . | quote }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{- define "ims-gateway.databaseCaMount" -}}
{{- if .Values.database.caSecretName -}}
- name: database-ca
  mountPath: /etc/ims-gateway/database-ca
  readOnly: true
{{- end }}
{{- end -}}
