{{- /* Names and labels. A full name leaves room for what is put behind it. */ -}}

{{- define "ims-gateway.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "ims-gateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "ims-gateway.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ims-gateway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "ims-gateway.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- /* Labels by which objects are found. They never change: a Deployment's selector cannot. */ -}}
{{- define "ims-gateway.matchLabels" -}}
app.kubernetes.io/name: {{ include "ims-gateway.name" .top }}
app.kubernetes.io/instance: {{ .top.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- /* All labels of an object. Of equal ones the chart's own count, then `more`. */ -}}
{{- define "ims-gateway.labels" -}}
{{- $own := include "ims-gateway.matchLabels" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" (.top.Chart.AppVersion | replace "+" "_") -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .top.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .top.Chart.Name .top.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- toYaml (merge $own (.more | default dict) .top.Values.commonLabels) -}}
{{- end -}}

{{- define "ims-gateway.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest | quote -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) | quote -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ims-gateway.tlsSecretName" -}}
{{- if .Values.tls.secretName -}}
{{- .Values.tls.secretName -}}
{{- else if .Values.tls.certificate.enabled -}}
{{- printf "%s-tls" (include "ims-gateway.fullname" .) -}}
{{- end -}}
{{- end -}}
