{{- /* A digest is parted from the name by @, a tag by a colon. */ -}}
{{- define "weft.image" -}}
{{ .Values.image.repository }}{{ if hasPrefix "sha256:" .Values.image.tag }}@{{ else }}:{{ end }}{{ .Values.image.tag }}
{{- end -}}
